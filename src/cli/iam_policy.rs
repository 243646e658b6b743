//! `kinetail iam-policy`: what must be allowed in AWS.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::ConfigArgs;
use crate::config;
use crate::deliver::policy::{Identity, Policy, Surroundings, policies};
use crate::source::DestinationName;

/// `kinetail iam-policy`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct IamPolicyArgs {
    /// Where the configuration is.
    #[command(flatten)]
    config: ConfigArgs,
    /// The account of streams that are named without one
    #[arg(long, value_name = "ID", value_parser = account)]
    account: Option<String>,
    /// The region where a destination names none
    #[arg(long, value_name = "REGION", env = "AWS_REGION")]
    region: Option<String>,
    /// The key with which a destination's data stream is encrypted; for each key once
    #[arg(long, value_name = "DESTINATION=ARN", value_parser = key)]
    kms_key: Vec<(DestinationName, String)>,
    /// The policy of another identity: a role's ARN, or a profile's name
    #[arg(long, value_name = "ROLE|PROFILE")]
    identity: Option<String>,
    /// Leave out what only the preflight (`check --online`, and at start) needs
    #[arg(long)]
    without_preflight: bool,
}

fn account(text: &str) -> Result<String, String> {
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not an account; it has 12 digits"))
    }
}

fn key(text: &str) -> Result<(DestinationName, String), String> {
    let wrong = || {
        format!(
            "{text:?} does not name a key; write it like audit=arn:aws:kms:eu-central-1:123456789012:key/ID"
        )
    };
    let (name, arn) = text.split_once('=').ok_or_else(wrong)?;
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    match parts[..] {
        ["arn", _, "kms", _, _, resource] if resource.starts_with("key/") => {
            Ok((name.into(), arn.to_owned()))
        }
        ["arn", _, "kms", _, _, resource] if resource.starts_with("alias/") => {
            Err(format!("{arn:?} is an alias; a policy takes the key's own ARN (aws kms describe-key)"))
        }
        _ => Err(wrong()),
    }
}

/// Prints the policy of one identity to `out`, and to `err` who else needs one: 0, or 2 if none can be made.
pub fn run(args: IamPolicyArgs, out: &mut impl Write, err: &mut impl Write) -> ExitCode {
    let loaded = match config::load(&args.config.config) {
        Ok(loaded) => loaded,
        Err(errors) => return refuse(err, &errors.iter().map(ToString::to_string).collect::<Vec<_>>()),
    };
    let known = Surroundings {
        account: args.account,
        region: args.region.filter(|region| !region.is_empty()),
        kms_keys: args.kms_key,
        without_preflight: args.without_preflight,
    };
    let destinations = loaded.config.destinations.iter().map(|entry| (&entry.name, &entry.to));
    let made = match policies(destinations, loaded.config.cloudwatch.as_ref(), &known) {
        Ok(made) => made,
        Err(errors) => return refuse(err, &errors.iter().map(ToString::to_string).collect::<Vec<_>>()),
    };
    if made.is_empty() {
        return refuse(
            err,
            &["nothing in the configuration is a service of AWS; no policy is needed".to_owned()],
        );
    }
    let Some(chosen) = choose(&made, args.identity.as_deref()) else {
        let mut lines = vec![match args.identity {
            Some(identity) => format!("{identity} is no identity of this configuration; there are:"),
            None => "kinetail's own identity needs nothing; with --identity there are:".to_owned(),
        }];
        lines.extend(made.iter().map(|policy| format!("  {}", policy.identity)));
        return refuse(err, &lines);
    };
    for other in made.iter().filter(|policy| policy.identity != chosen.identity) {
        let name = match &other.identity {
            Identity::Found(None) => continue,
            Identity::Found(Some(name)) | Identity::Role(name) => name,
        };
        let _ = writeln!(err, "note: {} needs a policy of its own: --identity {name}", other.identity);
    }
    match writeln!(out, "{:#}", chosen.document()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn choose<'a>(made: &'a [Policy], identity: Option<&str>) -> Option<&'a Policy> {
    made.iter().find(|policy| match (&policy.identity, identity) {
        (Identity::Found(None), None) => true,
        (Identity::Found(Some(name)) | Identity::Role(name), Some(asked)) => name == asked,
        _ => false,
    })
}

fn refuse(err: &mut impl Write, lines: &[String]) -> ExitCode {
    for line in lines {
        let _ = writeln!(err, "{line}");
    }
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_keys_are_read_as_iam_writes_them() {
        assert!(account("123456789012").is_ok());
        assert!(account("1234").is_err() && account("12345678901x").is_err());
        let arn = "arn:aws:kms:eu-central-1:123456789012:key/1234-5678";
        assert_eq!(key(&format!("audit={arn}")), Ok(("audit".into(), arn.to_owned())));
        let alias = key("audit=arn:aws:kms:eu-central-1:123456789012:alias/logs");
        assert!(alias.is_err_and(|message| message.contains("describe-key")));
        assert!(key(arn).is_err() && key("audit=key/1234").is_err());
    }

    #[test]
    fn the_policy_of_each_identity_is_printed_and_the_others_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("k.yaml");
        let role = "arn:aws:iam::222222222222:role/logs";
        let text = format!(
            "destinations: {{a: {{type: firehose, stream: s, packing: none, region: eu-central-1, role_arn: '{role}'}},
               d: {{type: directory, path: x}}}}\nroutes: [{{files: /x, to: [a, d]}}]"
        );
        std::fs::write(&config, text).expect("written");
        let printed = |identity: Option<&str>| {
            let args = IamPolicyArgs {
                config: ConfigArgs { config: config.clone() },
                account: None,
                region: None,
                kms_key: Vec::new(),
                identity: identity.map(str::to_owned),
                without_preflight: false,
            };
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let code = run(args, &mut out, &mut err);
            let text = |bytes| String::from_utf8(bytes).expect("text");
            (code == ExitCode::SUCCESS, text(out), text(err))
        };
        let (good, out, err) = printed(None);
        assert!(good && out.contains("sts:AssumeRole") && !out.contains("firehose"), "{out}");
        assert!(err.contains(&format!("--identity {role}")), "{err}");
        let (good, out, _) = printed(Some(role));
        assert!(good && out.contains("222222222222:deliverystream/s") && !out.contains("sts"), "{out}");
        let (good, out, err) = printed(Some("nobody"));
        assert!(!good && out.is_empty() && err.contains("nobody is no identity"), "{err}");
    }
}
