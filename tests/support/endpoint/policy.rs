//! What an access key may do: IAM policies of Allow statements that name actions and resources exactly.

use hyper::http::request::Parts;
use serde_json::Value;

use super::protocol::{ErrorAnswer, header};

/// The account of every stream.
pub(super) const ACCOUNT: &str = "123456789012";

/// Whether a policy lets a request do what it asks for.
pub(super) fn check(policy: &Value, head: &Parts, stream: &str) -> Result<(), ErrorAnswer> {
    let target = header(head, "x-amz-target").unwrap_or_default();
    let operation = target.split('.').nth(1).unwrap_or_default();
    let (service, kind) =
        if target.starts_with("Firehose") { ("firehose", "deliverystream") } else { ("kinesis", "stream") };
    let scope = header(head, "authorization").and_then(|text| text.split_once("Credential="));
    let region = scope.and_then(|(_, scope)| scope.split('/').nth(2)).unwrap_or_default();
    let action = format!("{service}:{operation}");
    let resource = format!("arn:aws:{service}:{region}:{ACCOUNT}:{kind}/{stream}");
    let has = |statement: &Value, key: &str, value: &str| {
        statement[key].as_array().is_some_and(|all| all.iter().any(|one| one == value))
    };
    let allowed = policy["Statement"].as_array().into_iter().flatten().any(|statement| {
        statement["Effect"] == "Allow"
            && statement.get("Condition").is_none()
            && has(statement, "Action", &action)
            && has(statement, "Resource", &resource)
    });
    if allowed {
        return Ok(());
    }
    let message = format!(
        "User is not authorized to perform: {action} on resource: {resource} because no identity-based policy \
         allows the {action} action"
    );
    Err(ErrorAnswer::new(400, "AccessDeniedException", message))
}

/// Whether a policy lets a request put metrics into a namespace.
pub(super) fn check_metrics(policy: &Value, namespace: &str) -> Result<(), ErrorAnswer> {
    let put = serde_json::json!({
        "Effect": "Allow",
        "Action": ["cloudwatch:PutMetricData"],
        "Resource": ["*"],
        "Condition": {"StringEquals": {"cloudwatch:namespace": namespace}},
    });
    let allowed = policy["Statement"].as_array().into_iter().flatten().any(|statement| {
        let mut statement = statement.clone();
        if let Some(statement) = statement.as_object_mut() {
            statement.remove("Sid");
        }
        statement == put
    });
    if allowed {
        return Ok(());
    }
    let message = "User is not authorized to perform: cloudwatch:PutMetricData";
    Err(ErrorAnswer::new(403, "AccessDenied", message))
}
