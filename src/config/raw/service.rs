//! The keys that everything has that is a service of AWS.

/// What is a service of AWS: an example of an endpoint, its own keys, those that all of them have, and its own again.
macro_rules! aws_service {
    (
        $(#[$attribute:meta])*
        pub(crate) struct $name:ident {
            $endpoint:literal,
            { $($own:tt)* }
            { $($later:tt)* }
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            $($own)*
            /// Where the service is. From the environment, the profile or the instance unless said.
            #[schemars(example = &"eu-central-1")]
            pub(crate) region: Option<super::scalar::Region>,
            /// A URL in place of the service's own, such as a VPC interface endpoint's.
            #[schemars(example = &$endpoint)]
            pub(crate) endpoint: Option<super::scalar::Endpoint>,
            /// A PEM file with the certificates to trust in place of the system's. The variable
            /// `AWS_CA_BUNDLE` unless said.
            #[schemars(example = &"/etc/pki/tls/certs/proxy.pem")]
            pub(crate) ca_bundle: Option<super::scalar::FilePath>,
            /// Use the service's FIPS 140 endpoint. The variable `AWS_USE_FIPS_ENDPOINT` unless said. Not with
            /// `endpoint`, which says all.
            pub(crate) fips: Option<bool>,
            /// Use the service's dual-stack endpoint, which has IPv6 too. The variable
            /// `AWS_USE_DUALSTACK_ENDPOINT` unless said. Not with `endpoint`.
            pub(crate) dual_stack: Option<bool>,
            /// A profile of the AWS configuration and credentials files.
            #[schemars(example = &"logging")]
            pub(crate) profile: Option<super::scalar::Text>,
            /// Roles to assume one after the other before `role_arn`, each with the credentials of the one
            /// before. Each is a map of `role_arn` and, where they are needed, `external_id` and `session_name`.
            #[serde(default)]
            #[schemars(example = serde_json::json!([
                {"role_arn": "arn:aws:iam::111122223333:role/hop", "external_id": "x-1"}
            ]))]
            pub(crate) role_chain: super::list::List<super::role::ChainedRole>,
            /// A role to assume with the credentials that were found.
            #[schemars(example = &"arn:aws:iam::123456789012:role/logs")]
            pub(crate) role_arn: Option<super::scalar::RoleArn>,
            /// The external id that the role's trust policy asks for: 2 to 1224 characters. Only with
            /// `role_arn`.
            #[schemars(example = &"kinetail-prod")]
            pub(crate) external_id: Option<super::scalar::ExternalId>,
            /// The name of the assumed role's session, seen in CloudTrail: 2 to 64 characters, `kinetail`
            /// unless said. Only with `role_arn`.
            #[schemars(example = &"kinetail")]
            pub(crate) session_name: Option<super::scalar::SessionName>,
            /// How long a connection may take to open; 5s unless said.
            #[schemars(example = &"3s", extend("x-limits" = {"min": "1ms", "max": "5m"}))]
            pub(crate) connect_timeout: Option<super::scalar::Time>,
            /// How long one request may take from start to end; 30s unless said.
            #[schemars(example = &"30s", extend("x-limits" = {"min": "1ms", "max": "15m"}))]
            pub(crate) request_timeout: Option<super::scalar::Time>,
            $($later)*
        }

        impl $name {
            /// Where the service is and who asks.
            pub(crate) fn aws(&self) -> crate::deliver::Aws {
                crate::deliver::Aws {
                    region: self.region.as_ref().map(|region| region.0.clone()),
                    endpoint: self.endpoint.as_ref().map(|endpoint| endpoint.0.clone()),
                    ca_bundle: self.ca_bundle.as_ref().map(|path| path.0.clone()),
                    fips: self.fips,
                    dual_stack: self.dual_stack,
                    profile: self.profile.as_ref().map(|profile| profile.0.clone()),
                    role_chain: self.role_chain.iter().filter_map(|(_, role)| role.made()).collect(),
                    role_arn: self.role_arn.as_ref().map(|arn| arn.0.clone()),
                    external_id: self.external_id.as_ref().map(|id| id.0.clone()),
                    session_name: self.session_name.as_ref().map(|name| name.0.clone()),
                    connect_timeout: self.connect_timeout.as_ref().map(|time| time.0),
                    request_timeout: self.request_timeout.as_ref().map(|time| time.0),
                }
            }
        }
    };
}

pub(super) use aws_service;
