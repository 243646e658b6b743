//! The least that an identity must be allowed in AWS, for exactly the destinations of a configuration.
//!
//! Every call that kinetail makes stands here: PutRecordBatch or PutRecords to deliver, DescribeDeliveryStream or
//! DescribeStreamSummary for the preflight, GenerateDataKey where a data stream is encrypted with a key of the
//! user's, AssumeRole for each role, PutMetricData where metrics are sent to CloudWatch. A delivery stream uses its key by a
//! grant of its own, so that needs nothing.

use std::fmt;

use serde_json::{Value, json};

use super::cloudwatch::CloudWatch;
use super::settings::{Aws, Destination};
use crate::source::DestinationName;

/// What the configuration does not say.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The account of streams that are named without one.
    pub account: Option<String>,
    /// The region where a destination names none.
    pub region: Option<String>,
    /// The keys with which data streams are encrypted, by destination; ARNs.
    pub kms_keys: Vec<(DestinationName, String)>,
    /// Leaves out what only the preflight needs.
    pub without_preflight: bool,
}

/// Who signs requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Whose credentials are found in the environment, or in this profile.
    Found(Option<String>),
    /// A role that is assumed, by its ARN.
    Role(String),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Found(None) => f.write_str("kinetail's own identity"),
            Identity::Found(Some(profile)) => write!(f, "the identity of the profile {profile}"),
            Identity::Role(arn) => write!(f, "the role {arn}"),
        }
    }
}

/// What an identity must be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Who.
    pub identity: Identity,
    statements: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    sid: String,
    action: &'static str,
    resources: Vec<String>,
    condition: Option<Value>,
}

/// Why no policy can be made for a destination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The stream's account is not known.
    #[error("destinations.{0}: the stream's account is not known; say --account 123456789012")]
    NoAccount(DestinationName),
    /// The stream's region is not known.
    #[error(
        "destinations.{0}: the stream's region is not known; set `region` there, or say --region eu-central-1"
    )]
    NoRegion(DestinationName),
    /// A key was named for what is no data stream.
    #[error("--kms-key {0}=…: {1}")]
    Key(DestinationName, &'static str),
}

impl Policy {
    /// As IAM takes it.
    pub fn document(&self) -> Value {
        let statements = self.statements.iter().map(|statement| {
            let mut made = json!({
                "Sid": statement.sid,
                "Effect": "Allow",
                "Action": [statement.action],
                "Resource": statement.resources,
            });
            if let Some(condition) = &statement.condition {
                made["Condition"] = condition.clone();
            }
            made
        });
        json!({"Version": "2012-10-17", "Statement": statements.collect::<Vec<_>>()})
    }

    fn allow(&mut self, sid: &str, action: &'static str, resource: &str) {
        let statement = match self.statements.iter_mut().find(|statement| statement.sid == sid) {
            Some(statement) => statement,
            None => {
                let resources = Vec::new();
                self.statements.push(Statement { sid: sid.to_owned(), action, resources, condition: None });
                let last = self.statements.len() - 1;
                &mut self.statements[last]
            }
        };
        if !statement.resources.iter().any(|known| known == resource) {
            statement.resources.push(resource.to_owned());
        }
    }
}

/// What each identity must be allowed, in the order of the configuration and CloudWatch last. Empty where nothing of it is
/// a service of AWS.
///
/// # Errors
///
/// All that keeps a resource from being named exactly.
pub fn policies<'a>(
    destinations: impl IntoIterator<Item = (&'a DestinationName, &'a Destination)>,
    cloudwatch: Option<&CloudWatch>,
    known: &Surroundings,
) -> Result<Vec<Policy>, Vec<PolicyError>> {
    let mut made: Vec<Policy> = Vec::new();
    let mut errors = Vec::new();
    let mut keys: Vec<&(DestinationName, String)> = known.kms_keys.iter().collect();
    for (name, destination) in destinations {
        let (mine, others) = keys.into_iter().partition::<Vec<_>, _>(|(of, _)| of == name);
        keys = others;
        let (aws, stream) = match destination {
            Destination::Firehose(to) => (&to.aws, Stream { of: Of::Firehose, name: &to.stream }),
            Destination::Kinesis(to) => (&to.aws, Stream { of: Of::Kinesis, name: &to.stream }),
            Destination::Directory(_) => {
                if !mine.is_empty() {
                    errors.push(PolicyError::Key(name.clone(), "it is a folder, and has no key"));
                }
                continue;
            }
        };
        let arn = match stream.arn(aws, known, name) {
            Ok(arn) => arn,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        let policy = identity(&mut made, aws);
        match stream.of {
            Of::Firehose => {
                policy.allow("PutToDeliveryStreams", "firehose:PutRecordBatch", &arn);
                if !known.without_preflight {
                    policy.allow("PreflightOfDeliveryStreams", "firehose:DescribeDeliveryStream", &arn);
                }
                if !mine.is_empty() {
                    let why = "a delivery stream uses its key by a grant of its own; who puts records needs no \
                               permission for it";
                    errors.push(PolicyError::Key(name.clone(), why));
                }
            }
            Of::Kinesis => {
                policy.allow("PutToDataStreams", "kinesis:PutRecords", &arn);
                if !known.without_preflight {
                    policy.allow("PreflightOfDataStreams", "kinesis:DescribeStreamSummary", &arn);
                }
                if !mine.is_empty() {
                    let number = policy.statements.len();
                    policy.statements.push(Statement {
                        // A statement's id takes letters and digits alone, names of destinations more.
                        sid: format!("EncryptForDataStream{number}"),
                        action: "kms:GenerateDataKey",
                        resources: mine.iter().map(|(_, key)| key.clone()).collect(),
                        condition: Some(
                            json!({"StringEquals": {"kms:EncryptionContext:aws:kinesis:arn": arn}}),
                        ),
                    });
                }
            }
        }
    }
    if let Some(cloudwatch) = cloudwatch {
        // The action knows no resources; the namespace is what it can be held to.
        identity(&mut made, &cloudwatch.aws).statements.push(Statement {
            sid: "PutMetrics".to_owned(),
            action: "cloudwatch:PutMetricData",
            resources: vec!["*".to_owned()],
            condition: Some(json!({"StringEquals": {"cloudwatch:namespace": cloudwatch.namespace}})),
        });
    }
    errors
        .extend(keys.iter().map(|(name, _)| PolicyError::Key(name.clone(), "there is no such destination")));
    if errors.is_empty() { Ok(made) } else { Err(errors) }
}

/// The policy of who puts records to a destination, and on the way there the permission to assume each role.
fn identity<'a>(made: &'a mut Vec<Policy>, aws: &Aws) -> &'a mut Policy {
    let mut at = entry(made, Identity::Found(aws.profile.clone()));
    for role in aws.roles() {
        made[at].allow("AssumeRoles", "sts:AssumeRole", &role.arn);
        at = entry(made, Identity::Role(role.arn));
    }
    &mut made[at]
}

fn entry(made: &mut Vec<Policy>, identity: Identity) -> usize {
    made.iter().position(|policy| policy.identity == identity).unwrap_or_else(|| {
        made.push(Policy { identity, statements: Vec::new() });
        made.len() - 1
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Firehose,
    Kinesis,
}

struct Stream<'a> {
    of: Of,
    name: &'a str,
}

impl Stream<'_> {
    fn arn(&self, aws: &Aws, known: &Surroundings, name: &DestinationName) -> Result<String, PolicyError> {
        if self.name.starts_with("arn:") {
            return Ok(self.name.to_owned());
        }
        let region = aws.region.as_ref().or(known.region.as_ref());
        let region = region.ok_or_else(|| PolicyError::NoRegion(name.clone()))?;
        // A stream named without an account belongs to the account of who asks: of the role, where one is assumed.
        let of_role = aws.role_arn.as_ref().and_then(|arn| arn.split(':').nth(4));
        let account = of_role.or(known.account.as_deref());
        let account = account.ok_or_else(|| PolicyError::NoAccount(name.clone()))?;
        let (service, kind) = match self.of {
            Of::Firehose => ("firehose", "deliverystream"),
            Of::Kinesis => ("kinesis", "stream"),
        };
        Ok(format!("arn:{}:{service}:{region}:{account}:{kind}/{}", partition(region), self.name))
    }
}

/// The partition that a region belongs to (AWS Fault Isolation Boundaries, "Partitions").
fn partition(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        region if region.starts_with("us-isob-") => "aws-iso-b",
        region if region.starts_with("us-isof-") => "aws-iso-f",
        region if region.starts_with("us-iso-") => "aws-iso",
        region if region.starts_with("eu-isoe-") => "aws-iso-e",
        region if region.starts_with("eusc-") => "aws-eusc",
        _ => "aws",
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::{Aggregation, Packing, Role};
    use super::super::testing;
    use super::*;

    fn firehose(aws: Aws) -> Destination {
        let mut settings = testing::firehose(Packing::None);
        settings.aws = aws;
        Destination::Firehose(settings)
    }

    fn kinesis(stream: &str, aws: Aws) -> Destination {
        let mut settings = testing::kinesis(Aggregation::None);
        settings.aws = aws;
        settings.stream = stream.to_owned();
        Destination::Kinesis(settings)
    }

    fn of(
        destinations: &[(&str, Destination)],
        known: &Surroundings,
    ) -> Result<Vec<(String, Value)>, Vec<String>> {
        let named: Vec<(DestinationName, &Destination)> =
            destinations.iter().map(|(name, to)| (DestinationName::from(*name), to)).collect();
        match policies(named.iter().map(|(name, to)| (name, *to)), None, known) {
            Ok(made) => Ok(made
                .iter()
                .map(|policy| (policy.identity.to_string(), policy.document()["Statement"].clone()))
                .collect()),
            Err(errors) => Err(errors.iter().map(ToString::to_string).collect()),
        }
    }

    fn known() -> Surroundings {
        Surroundings {
            account: Some("111122223333".into()),
            region: Some("eu-central-1".into()),
            ..Surroundings::default()
        }
    }

    #[test]
    fn only_what_is_configured_is_allowed() {
        let destinations = [
            ("a", firehose(Aws::default())),
            ("b", kinesis("audit", Aws { region: Some("us-gov-west-1".into()), ..Aws::default() })),
            ("c", kinesis("arn:aws:kinesis:eu-west-1:999999999999:stream/theirs", Aws::default())),
        ];
        let archive = "arn:aws:firehose:eu-central-1:111122223333:deliverystream/archive";
        let streams = [
            "arn:aws-us-gov:kinesis:us-gov-west-1:111122223333:stream/audit",
            "arn:aws:kinesis:eu-west-1:999999999999:stream/theirs",
        ];
        let put = json!([
            {"Sid": "PutToDeliveryStreams", "Effect": "Allow", "Action": ["firehose:PutRecordBatch"], "Resource": [archive]},
            {"Sid": "PutToDataStreams", "Effect": "Allow", "Action": ["kinesis:PutRecords"], "Resource": streams},
        ]);
        let bare = Surroundings { without_preflight: true, ..known() };
        assert_eq!(of(&destinations, &bare).unwrap(), [("kinetail's own identity".to_owned(), put)]);
        let with = of(&destinations, &known()).unwrap();
        let look: Vec<&Value> = with[0].1.as_array().unwrap().iter().skip(1).step_by(2).collect();
        assert_eq!(look[0]["Action"], json!(["firehose:DescribeDeliveryStream"]));
        assert_eq!(look[0]["Resource"], json!([archive]));
        assert_eq!(look[1]["Action"], json!(["kinesis:DescribeStreamSummary"]));
        assert_eq!(look[1]["Resource"], json!(streams));
    }

    #[test]
    fn each_role_has_a_policy_of_its_own_and_may_assume_the_next() {
        let (hop, last) = ("arn:aws:iam::222222222222:role/hop", "arn:aws:iam::333333333333:role/logs");
        let role = Role { arn: hop.into(), external_id: None, session_name: None };
        let aws = Aws { role_chain: vec![role], role_arn: Some(last.into()), ..Aws::default() };
        let profile = Aws { profile: Some("other".into()), ..Aws::default() };
        let known = Surroundings { without_preflight: true, ..known() };
        let made = of(&[("a", kinesis("audit", aws)), ("b", firehose(profile))], &known).unwrap();
        let assume = |arn| json!([{"Sid": "AssumeRoles", "Effect": "Allow", "Action": ["sts:AssumeRole"], "Resource": [arn]}]);
        assert_eq!(made[0], ("kinetail's own identity".to_owned(), assume(hop)));
        assert_eq!(made[1], (format!("the role {hop}"), assume(last)));
        assert_eq!(
            made[2].1[0]["Resource"],
            json!(["arn:aws:kinesis:eu-central-1:333333333333:stream/audit"])
        );
        assert_eq!(made[3].0, "the identity of the profile other");
    }

    #[test]
    fn metrics_may_be_put_into_their_namespace_alone_by_who_puts_them() {
        let role = "arn:aws:iam::222222222222:role/metrics";
        let cloudwatch = CloudWatch {
            namespace: "Shop/Logs".into(),
            interval: std::time::Duration::from_secs(60),
            agent_metrics: true,
            metrics: Vec::new(),
            dimensions: Vec::new(),
            aws: Aws { role_arn: Some(role.into()), ..Aws::default() },
        };
        let made = policies([], Some(&cloudwatch), &Surroundings::default()).unwrap();
        assert_eq!(made[0].document()["Statement"][0]["Action"], json!(["sts:AssumeRole"]));
        assert_eq!(made[1].identity, Identity::Role(role.into()));
        let put = json!([{
            "Sid": "PutMetrics",
            "Effect": "Allow",
            "Action": ["cloudwatch:PutMetricData"],
            "Resource": ["*"],
            "Condition": {"StringEquals": {"cloudwatch:namespace": "Shop/Logs"}},
        }]);
        assert_eq!(made[1].document()["Statement"], put);
    }

    #[test]
    fn a_key_is_allowed_for_its_stream_alone() {
        let key = "arn:aws:kms:eu-central-1:111122223333:key/1234";
        let keys = |of: &str| Surroundings { kms_keys: vec![(of.into(), key.to_owned())], ..known() };
        let destinations =
            [("audit", kinesis("audit", Aws::default())), ("archive", firehose(Aws::default()))];
        let made = of(&destinations, &keys("audit")).unwrap();
        let statement =
            made[0].1.as_array().unwrap().iter().find(|it| it["Action"][0] == "kms:GenerateDataKey");
        let statement = statement.expect("a statement for the key");
        assert_eq!(statement["Resource"], json!([key]));
        assert_eq!(
            statement["Condition"]["StringEquals"]["kms:EncryptionContext:aws:kinesis:arn"],
            "arn:aws:kinesis:eu-central-1:111122223333:stream/audit"
        );
        for (name, why) in [("archive", "a grant of its own"), ("none", "no such destination")] {
            let errors = of(&destinations, &keys(name)).unwrap_err();
            assert!(errors[0].contains(why), "{errors:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_asked_for() {
        let errors = of(&[("a", firehose(Aws::default()))], &Surroundings::default()).unwrap_err();
        assert!(errors[0].contains("destinations.a") && errors[0].contains("--region"), "{errors:?}");
        let known = Surroundings { region: Some("eu-central-1".into()), ..Surroundings::default() };
        let errors = of(&[("a", firehose(Aws::default()))], &known).unwrap_err();
        assert!(errors[0].contains("--account"), "{errors:?}");
    }
}
