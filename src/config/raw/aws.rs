//! What AWS takes for names, keys, regions and roles, each from the page of the API that says so.

use super::scalar::only;
use crate::deliver::Template;

/// DeliveryStreamName of the Firehose API: `[a-zA-Z0-9_.-]+`, 1 to 64.
pub(super) fn read_firehose_stream(text: &str) -> Result<String, String> {
    if let Some((_, name)) = text.strip_prefix("arn:").and_then(|arn| arn.split_once(":deliverystream/")) {
        return Err(format!("{text:?} is an ARN; Firehose takes the name alone: {name}"));
    }
    stream_name(text, 64)
}

/// StreamName (`[a-zA-Z0-9_.-]+`, 1 to 128) or StreamARN of the Kinesis API.
pub(super) fn read_kinesis_stream(text: &str) -> Result<String, String> {
    if !text.starts_with("arn:") {
        return stream_name(text, 128);
    }
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let fits = match parts[..] {
        ["arn", partition, "kinesis", region, account, resource] => {
            partition.starts_with("aws")
                && read_region(region).is_ok()
                && is_account(account)
                && resource.strip_prefix("stream/").is_some_and(|name| stream_name(name, 128).is_ok())
        }
        _ => false,
    };
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is not the ARN of a data stream; it looks like \
             arn:aws:kinesis:eu-central-1:123456789012:stream/name"
        ))
    }
}

fn stream_name(text: &str, longest: usize) -> Result<String, String> {
    if (1..=longest).contains(&text.len()) && only(text, "_.-") {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not the name of a stream; AWS allows 1 to {longest} of A-Z a-z 0-9 _ . -"))
    }
}

/// PartitionKey of the Kinesis API: 1 to 256 characters; or a template, of which what is longer is hashed.
pub(super) fn read_partition_key(text: &str) -> Result<String, String> {
    if text.contains("${") {
        return Template::parse(text).map(|_| text.to_owned());
    }
    if (1..=256).contains(&text.chars().count()) {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 256 characters (the service's limit)".to_owned())
    }
}

/// ExplicitHashKey of the Kinesis API: a decimal number of 128 bits; or a template of one.
pub(super) fn read_hash_key(text: &str) -> Result<String, String> {
    if text.contains("${") {
        return Template::parse(text).map(|_| text.to_owned());
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u128>() {
        Ok(_) if digits => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is not a hash key; AWS takes a decimal number from 0 to {}", u128::MAX)),
    }
}

pub(super) fn read_region(text: &str) -> Result<String, String> {
    let fits = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !fits {
        return Err(format!("{text:?} is not a region; write it like eu-central-1"));
    }
    let zone = text.strip_suffix(|c: char| c.is_ascii_lowercase());
    match zone.filter(|region| region.ends_with(|c: char| c.is_ascii_digit())) {
        Some(region) => Err(format!("{text:?} is an availability zone; its region is {region}")),
        None => Ok(text.to_owned()),
    }
}

pub(super) fn read_endpoint(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let authority = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let fits = authority.is_some_and(|authority| {
        let host_and_port = match authority.strip_prefix('[') {
            Some(ip6) => ip6.split_once(']').filter(|(host, _)| host.contains(':')),
            None => Some(authority.split_at(authority.find(':').unwrap_or(authority.len()))),
        };
        host_and_port.is_some_and(|(host, port)| {
            !host.is_empty()
                && !host.contains('@')
                && (port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()))
        })
    });
    if fits && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '?' || c == '#') {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is not a URL of http or https; write it like \
             https://vpce-1.firehose.eu-central-1.vpce.amazonaws.com"
        ))
    }
}

pub(super) fn read_role_arn(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let fits = matches!(
        parts[..],
        ["arn", partition, "iam", "", account, resource]
            if partition.starts_with("aws")
                && is_account(account)
                && resource.strip_prefix("role/").is_some_and(|name| !name.is_empty())
    ) && !text.contains(char::is_whitespace);
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not a role's ARN; it looks like arn:aws:iam::123456789012:role/name"))
    }
}

/// ExternalId and RoleSessionName of AssumeRole: 2 to `longest` letters, digits and `others`.
pub(super) fn read_sts(text: &str, what: &str, longest: usize, others: &str) -> Result<String, String> {
    if (2..=longest).contains(&text.len()) && only(text, others) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not {what}; AWS allows 2 to {longest} of A-Z a-z 0-9 {others}"))
    }
}

/// Namespace of the CloudWatch API: 1 to 255 characters, of those that its user guide lists ("CloudWatch concepts").
pub(super) fn read_namespace(text: &str) -> Result<String, String> {
    let fits = (1..=255).contains(&text.len()) && only(text, ".-_/#: ") && !text.trim().is_empty();
    if text.starts_with("AWS/") {
        return Err(format!("{text:?} begins with AWS/, which is for the services of AWS"));
    }
    if fits && !text.starts_with(':') {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is not a namespace; CloudWatch allows 1 to 255 of A-Z a-z 0-9 . - _ / # : and blanks, no colon first"
        ))
    }
}

/// Name of a Dimension of the CloudWatch API.
pub(in super::super) fn read_dimension_name(text: &str) -> Result<String, String> {
    if is_dimension(text, 255) && !text.starts_with(':') {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is not the name of a dimension; CloudWatch allows 1 to 255 characters of ASCII, no colon first"
        ))
    }
}

/// Value of a Dimension of the CloudWatch API.
pub(super) fn read_dimension_value(text: &str) -> Result<String, String> {
    if is_dimension(text, 1024) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not a dimension's value; CloudWatch allows 1 to 1024 characters of ASCII"))
    }
}

fn is_dimension(text: &str, longest: usize) -> bool {
    let visible = |byte: u8| (b' '..=b'~').contains(&byte);
    (1..=longest).contains(&text.len()) && text.bytes().all(visible) && !text.trim().is_empty()
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use crate::config::raw::scalar::Form;
    use crate::config::raw::scalar::tests::check;

    #[test]
    fn streams_are_named_as_the_services_allow() {
        check("firehose-stream", &["app.archive_1-x"], &["", "a b", "a/b", &"x".repeat(65)]);
        let arn = "arn:aws:kinesis:eu-central-1:123456789012:stream/audit";
        check("kinesis-stream", &["a", &"x".repeat(128), arn], &["", &"x".repeat(129), "arn:aws:s3:::x"]);
        let refused = (Form::named("firehose-stream").expect("known").check)(
            "arn:aws:firehose:eu-central-1:123456789012:deliverystream/app",
        );
        assert!(refused.is_err_and(|message| message.ends_with("the name alone: app")));
    }

    #[test]
    fn endpoints_are_urls_of_http_or_https() {
        check(
            "endpoint",
            &["http://127.0.0.1:4566", "https://h", "https://[::1]:443/x", "https://a.b/c"],
            &[
                "",
                "h:80",
                "ftp://h",
                "https://",
                "https://h:99999",
                "https://u@h",
                "https://h /",
                "https://[x]",
            ],
        );
    }

    #[test]
    fn a_zone_is_not_a_region() {
        check(
            "aws-region",
            &["eu-central-1", "us-gov-west-1", "local"],
            &["", "EU", "eu-central-1a", "eu central"],
        );
    }

    #[test]
    fn a_partition_key_is_1_to_256_characters() {
        let long = format!("${{host}}{}", "x".repeat(300));
        check(
            "partition-key",
            &["random", &"ä".repeat(256), "${a.b}/${c}", &long],
            &["", &"x".repeat(257), "${"],
        );
    }

    #[test]
    fn a_hash_key_is_a_number_of_128_bits() {
        let most = u128::MAX.to_string();
        check("hash-key", &["0", &most, "${shard}"], &["", "-1", "+1", "0x1", &format!("{most}0"), "${}"]);
    }

    #[test]
    fn namespaces_and_dimensions_are_such_as_cloudwatch_takes() {
        check(
            "cloudwatch-namespace",
            &["kinetail", "Shop/Logs", "a b#c:d"],
            &["", " ", ":a", "AWS/Logs", "ä", "a,b", &"x".repeat(256)],
        );
        check("cloudwatch-dimension", &["node-1", "a, b"], &["", "  ", "ä", "a\tb", &"x".repeat(1025)]);
        assert!(super::read_dimension_name("Node").is_ok());
        assert!(super::read_dimension_name(":Node").is_err());
    }

    #[test]
    fn roles_are_named_by_arn() {
        check(
            "role-arn",
            &["arn:aws:iam::123456789012:role/a/b", "arn:aws-us-gov:iam::123456789012:role/x"],
            &[
                "role",
                "arn:aws:iam::12:role/x",
                "arn:aws:iam::123456789012:user/x",
                "arn:aws:iam::123456789012:role/",
            ],
        );
        check("external-id", &["a-b/c:d"], &["a", "a b"]);
        check("session-name", &["kinetail@node-1"], &["a", "a/b"]);
    }
}
