//! What a failure means for a person, and what to do.

use super::super::answer::{Class, Failure, listed};
use super::super::aws::ConnectError;
use super::{CONNECTION, Finding};

/// Where a request went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Where<'a> {
    /// `delivery stream` or `data stream`.
    pub(super) kind: &'static str,
    pub(super) stream: &'a str,
    pub(super) region: &'a str,
    /// The permission that the request needs.
    pub(super) action: &'static str,
    /// Whether the destination has an endpoint of its own.
    pub(super) endpoint: Option<&'a str>,
}

/// A connection that could not even be made.
pub(super) fn unconnected(error: &ConnectError) -> Finding {
    match error {
        ConnectError::CaBundle { .. } => Finding::problem(
            "TLS",
            error.to_string(),
            "ca_bundle, or AWS_CA_BUNDLE, must name a PEM file with the certificates of the authorities to trust",
        ),
        ConnectError::Proxy { .. } => {
            Finding::problem("proxy", error.to_string(), "write it like http://proxy.example.com:3128")
        }
        // These say themselves what to do.
        ConnectError::NoCertificates { .. } => Finding::problem("TLS", error.to_string(), ""),
        ConnectError::NoRegion => Finding::problem("region", error.to_string(), ""),
    }
}

/// A request that failed. `about` is what it was to find out.
pub(super) fn explain(failure: &Failure, about: &'static str, at: &Where<'_>) -> Finding {
    let Where { kind, stream, region, action, endpoint } = at;
    let code = listed(&failure.code);
    let said = failure.to_string();
    match code.as_str() {
        "resourcenotfound" => Finding::problem(
            kind,
            format!("there is no {kind} {stream} in {region} in the account of these credentials"),
            "correct `stream`, `region` or the credentials, or create it",
        ),
        "accessdenied" | "unauthorized" | "notauthorized" | "unauthorizedoperation" | "http403" => {
            let what = format!("not allowed: {said}");
            let remedy = format!("allow {action}; `kinetail iam-policy` prints the policy");
            // Records may be delivered all the same.
            if about == "writing" {
                Finding::problem(about, what, remedy)
            } else {
                Finding::warning("permission", what, format!("{remedy}, or live without the preflight"))
            }
        }
        "requesttimetooskewed" | "requestinthefuture" | "requestexpired" => Finding::problem(
            "clock",
            said,
            "set the clock of this machine: AWS refuses requests that are more than 5 minutes off",
        ),
        "expiredtoken" | "tokenrefreshrequired" => Finding::problem(
            "credentials",
            said,
            "renew them where they come from; kinetail reads them again",
        ),
        "credentials" => Finding::problem(
            "credentials",
            said,
            "give some by the environment, a profile, a service account's role (AWS_ROLE_ARN and \
             AWS_WEB_IDENTITY_TOKEN_FILE), EKS Pod Identity or the instance's role; pods need a hop limit of 2 to \
             reach the instance's",
        ),
        code if failure.is_of_credentials() || code == "optinrequired" => Finding::problem(
            "credentials",
            said,
            "the access key or its secret is wrong, of another partition, or disabled; see which one is found first: \
             environment, profile, web identity, container, instance",
        ),
        "tls" => Finding::problem(
            "TLS",
            said,
            "a certificate of an unknown authority is trusted by `ca_bundle` or AWS_CA_BUNDLE, as behind a proxy that \
             opens TLS; one for another name means a wrong `endpoint`",
        ),
        "connection" | "timeout" => Finding::problem(
            CONNECTION,
            said,
            match endpoint {
                Some(endpoint) => format!(
                    "see that {endpoint} resolves and can be reached from here (DNS, security groups, network \
                     policies, HTTPS_PROXY and NO_PROXY)"
                ),
                None => {
                    "see that the service's host resolves and can be reached from here (DNS, routes, network \
                         policies, HTTPS_PROXY and NO_PROXY), or set `endpoint` to a VPC endpoint"
                        .to_owned()
                }
            },
        ),
        code if code.starts_with("kms") || code == "invalidkmsresource" => Finding::problem(
            "encryption",
            said,
            "the stream's key must be enabled, and its use allowed (kms:GenerateDataKey); `kinetail iam-policy \
             --kms-key` prints the statement",
        ),
        _ => match failure.class {
            Class::Throttled | Class::Retry => Finding::warning(about, said, "try again in a while"),
            Class::Poison => Finding::problem(about, said, "correct what the service complains about"),
            Class::Hold => Finding::problem(about, said, "see what the service says"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    const AT: Where<'_> = Where {
        kind: "data stream",
        stream: "audit",
        region: "eu-central-1",
        action: "kinesis:DescribeStreamSummary",
        endpoint: None,
    };

    #[test]
    fn every_failure_is_explained_with_what_to_do() {
        for (code, about, remedy) in [
            ("ResourceNotFoundException", "data stream", "create it"),
            ("RequestTimeTooSkewed", "clock", "set the clock"),
            ("ExpiredTokenException", "credentials", "renew"),
            ("UnrecognizedClientException", "credentials", "access key"),
            ("InvalidSignatureException", "credentials", "secret"),
            ("Credentials", "credentials", "AWS_WEB_IDENTITY_TOKEN_FILE"),
            ("Tls", "TLS", "ca_bundle"),
            ("Connection", "connection", "NO_PROXY"),
            ("Timeout", "connection", "endpoint"),
            ("KMSAccessDeniedException", "encryption", "kms:GenerateDataKey"),
        ] {
            let finding = explain(&Failure::local(Class::Hold, code, "because"), "stream", &AT);
            assert_eq!((finding.level, finding.about), (Level::Problem, about), "{code}");
            assert!(finding.remedy.contains(remedy), "{code}: {finding}");
        }
    }

    #[test]
    fn who_may_not_look_may_still_write() {
        let denied = Failure::from_service("AccessDeniedException", "User: x is not authorized", 400);
        let looking = explain(&denied, "stream", &AT);
        assert_eq!(looking.level, Level::Warning);
        assert!(looking.remedy.contains("kinesis:DescribeStreamSummary"), "{looking}");
        assert_eq!(explain(&denied, "writing", &AT).level, Level::Problem);
    }

    #[test]
    fn a_moments_trouble_is_no_problem() {
        for code in ["LimitExceededException", "ThrottlingException", "InternalFailure"] {
            let finding = explain(&Failure::from_service(code, "", 500), "stream", &AT);
            assert_eq!(finding.level, Level::Warning, "{code}");
        }
    }

    #[test]
    fn what_cannot_be_connected_says_what_to_set() {
        let bundle = ConnectError::CaBundle { path: "/x".into(), what: "cannot be read".into() };
        assert!(unconnected(&bundle).to_string().contains("AWS_CA_BUNDLE"));
        let proxy = ConnectError::Proxy { variable: "HTTPS_PROXY", what: "no URL".into() };
        assert!(unconnected(&proxy).to_string().contains("3128"));
        assert!(unconnected(&ConnectError::NoRegion).to_string().contains("AWS_REGION"));
    }
}
