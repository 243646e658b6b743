//! A role on the way to another, as typed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::{ExternalId, RoleArn, SessionName};
use crate::deliver::Role;

/// A role on the way to `role_arn`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChainedRole {
    /// The role.
    #[schemars(
        required,
        example = &"arn:aws:iam::111122223333:role/hop",
        extend("x-missing" = "name the role to assume")
    )]
    pub(crate) role_arn: Option<RoleArn>,
    /// The external id that its trust policy asks for.
    #[schemars(example = &"x-1")]
    pub(crate) external_id: Option<ExternalId>,
    /// The name of the session; `kinetail` unless said.
    #[schemars(example = &"kinetail")]
    pub(crate) session_name: Option<SessionName>,
}

impl ChainedRole {
    /// None if its ARN was refused, which was told.
    pub(super) fn made(&self) -> Option<Role> {
        Some(Role {
            arn: self.role_arn.as_ref()?.0.clone(),
            external_id: self.external_id.as_ref().map(|id| id.0.clone()),
            session_name: self.session_name.as_ref().map(|name| name.0.clone()),
        })
    }
}
