"""stack.py: what cfn-lint does not know of the CloudFormation template: that it makes what it says, that each alarm looks at a stream
of its own, and that the role may do what the binary needs and nothing else.
"""

import json
import pathlib
import subprocess
import tempfile

import yaml
from deployment import listed
from findings import expect

TEMPLATE = pathlib.Path("manifests/aws/kinetail.cfn.yaml")
DELIVERY_STREAM, DATA_STREAM = "AWS::KinesisFirehose::DeliveryStream", "AWS::Kinesis::Stream"
# What must be told of: each metric with the dimension that names its stream, the kind of stream, and what is alarming.
ALARMS = {
    ("AWS/Firehose", "ThrottledRecords"): ("DeliveryStreamName", DELIVERY_STREAM, "Sum", "GreaterThanThreshold"),
    ("AWS/Firehose", "DeliveryToS3.DataFreshness"): ("DeliveryStreamName", DELIVERY_STREAM, "Maximum", "GreaterThanThreshold"),
    ("AWS/Firehose", "DeliveryToS3.Success"): ("DeliveryStreamName", DELIVERY_STREAM, "Average", "LessThanThreshold"),
    ("AWS/Firehose", "BackupToS3.Success"): ("DeliveryStreamName", DELIVERY_STREAM, "Average", "LessThanThreshold"),
    ("AWS/Kinesis", "WriteProvisionedThroughputExceeded"): ("StreamName", DATA_STREAM, "Sum", "GreaterThanThreshold"),
    ("AWS/Kinesis", "GetRecords.IteratorAgeMilliseconds"): ("StreamName", DATA_STREAM, "Maximum", "GreaterThanThreshold"),
}


class Template(yaml.SafeLoader):
    """A CloudFormation template; its functions (`!Ref NAME`) become their long form."""


def function(loader, name, node):
    value = {yaml.ScalarNode: loader.construct_scalar, yaml.SequenceNode: lambda it: loader.construct_sequence(it, deep=True)}
    return {name: value[type(node)](node)}


Template.add_multi_constructor("!", function)


def template():
    return yaml.load(TEMPLATE.read_text(encoding="utf-8"), Loader=Template)


def check_stack():
    """The two streams as they are described, and an alarm for each thing that can go wrong with them."""
    said = template()
    resources, parameters = said["Resources"], said["Parameters"]
    made = {}
    for name, resource in resources.items():
        made.setdefault(resource["Type"], {})[name] = resource.get("Properties", {})
    ((delivery, firehose),) = made[DELIVERY_STREAM].items()
    ((data, kinesis),) = made[DATA_STREAM].items()

    expect(firehose["DeliveryStreamType"] == "DirectPut", "kinetail cannot put to the delivery stream")
    to_s3 = firehose["ExtendedS3DestinationConfiguration"]
    condition, on, off = to_s3["S3BackupMode"]["If"]
    expect((on, off) == ("Enabled", "Disabled"), f"the backup is {on} or {off}")
    asked = {"Equals": [{"Ref": "Backup"}, "true"]}
    expect(said["Conditions"].get(condition) == asked and parameters["Backup"]["Default"] == "true", "there is no backup unless asked for")
    same, backup, _ = to_s3["S3BackupConfiguration"]["If"]
    expect(same == condition, "the backup's place depends on something else than the backup")
    prefixes = [place[kind].split("/")[0] for place in (to_s3, backup) for kind in ("Prefix", "ErrorOutputPrefix")]
    expect(len(set(prefixes)) == 4 and prefixes[2] == "backup", f"records, errors, backup and its errors lie below {prefixes}")
    expect(backup["BucketARN"] == to_s3["BucketARN"] == {"GetAtt": "Bucket.Arn"}, "the delivery stream writes to another bucket")
    (bucket,) = made["AWS::S3::Bucket"].values()
    expiry = {rule.get("Prefix", ""): rule["ExpirationInDays"] for rule in bucket["LifecycleConfiguration"]["Rules"]}
    expect(expiry == {"": {"Ref": "RetentionDays"}, "backup": {"Ref": "BackupDays"}}, f"objects expire by {expiry}")
    expect(kinesis.get("StreamModeDetails") == {"StreamMode": "ON_DEMAND"}, "the data stream is not on demand")

    streams = {DELIVERY_STREAM: delivery, DATA_STREAM: data}
    alarms = made["AWS::CloudWatch::Alarm"]
    looked_at = sorted((alarm["Namespace"], alarm["MetricName"]) for alarm in alarms.values())
    expect(looked_at == sorted(ALARMS), f"alarms look at {looked_at}, not at {sorted(ALARMS)}")
    for name, alarm in alarms.items():
        key, kind, statistic, comparison = ALARMS.get((alarm["Namespace"], alarm["MetricName"]), (None,) * 4)
        of = [{"Name": key, "Value": {"Ref": streams.get(kind)}}]
        expect(alarm["Dimensions"] == of, f"{name} looks at {alarm['Dimensions']}, not at the stack's stream")
        how = (alarm["Statistic"], alarm["ComparisonOperator"])
        expect(how == (statistic, comparison), f"{name} is alarmed by {how}")
        tells = {"If": ["HasTopic", [{"Ref": "AlarmTopic"}], {"Ref": "AWS::NoValue"}]}
        expect(alarm.get("AlarmActions") == tells, f"{name} tells nobody")
        expect(alarm.get("TreatMissingData") == "notBreaching", f"{name} is alarmed where nothing is sent")
        depends = condition if alarm["MetricName"].startswith("BackupToS3.") else None
        expect(resources[name].get("Condition") == depends, f"{name} is there only if {resources[name].get('Condition')}")
        if alarm["MetricName"] == "GetRecords.IteratorAgeMilliseconds":
            kept = parameters["StreamRetentionHours"]["MinValue"] * 3_600_000
            expect(alarm["Threshold"] < kept, f"{name} comes when records are gone")
    return len(alarms)


# Who takes kinetail's role: by a token of the cluster's issuer, by EKS Pod Identity, by an instance's profile.
ROLES = {"ClusterRole": "OidcProvider", "PodIdentityRole": "PodIdentityCluster", "InstanceRole": None}


def holds(condition, conditions, parameters):
    """Whether a condition of the template holds with these parameters."""
    if condition is None:
        return True
    if isinstance(condition, str):
        return holds(conditions[condition], conditions, parameters)
    ((function, of),) = condition.items()
    if function == "Condition":
        return holds(of, conditions, parameters)
    if function == "Equals":
        left, right = (parameters[one["Ref"]] if isinstance(one, dict) else one for one in of)
        return left == right
    of = [holds(one, conditions, parameters) for one in of]
    return {"Not": lambda: not of[0], "And": lambda: all(of), "Or": lambda: any(of)}[function]()


def check_roles():
    """That each way to a role makes that role and no other, for the account that asks alone, and that the outputs name all of them
    and the policy, which is what other roles and users take.
    """
    said = template()
    resources, outputs = said["Resources"], said["Outputs"]
    defaults = {name: parameter["Default"] for name, parameter in said["Parameters"].items()}
    for asked in ([], ["OidcProvider"], ["PodIdentityCluster"], ["OidcProvider", "PodIdentityCluster"]):
        parameters = defaults | {name: "given" for name in asked}
        made = {name for name, made in resources.items() if holds(made.get("Condition"), said["Conditions"], parameters)}
        wanted = {role for role, by in ROLES.items() if by in asked or by is None and not asked}
        expect(made & ROLES.keys() == wanted, f"with {asked} the stack makes {sorted(made & ROLES.keys())}, not {sorted(wanted)}")
        named = {
            output["Value"].get("Ref", output["Value"].get("GetAtt", "").removesuffix(".Arn"))
            for output in outputs.values()
            if holds(output.get("Condition"), said["Conditions"], parameters)
        }
        expect(named <= made and wanted | {"WritePolicy"} <= named, f"with {asked} the outputs are of {sorted(named)}")
        expect(("PodIdentityAssociation" in made) == ("PodIdentityRole" in wanted), f"with {asked} nothing leads to the role")

    (trust,) = resources["PodIdentityRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    expect(trust["Principal"] == {"Service": "pods.eks.amazonaws.com"}, f"the role of pods trusts {trust['Principal']}")
    expect(set(trust["Action"]) == {"sts:AssumeRole", "sts:TagSession"}, f"Pod Identity may {trust['Action']}, and tags each session")
    cluster = "arn:${AWS::Partition}:eks:${AWS::Region}:${AWS::AccountId}:cluster/${PodIdentityCluster}"
    by = {
        "aws:RequestTag/eks-cluster-arn": {"Sub": cluster},
        "aws:RequestTag/kubernetes-namespace": {"Ref": "Namespace"},
        "aws:RequestTag/kubernetes-service-account": {"Ref": "ServiceAccount"},
    }
    expect(trust["Condition"] == {"StringEquals": by}, f"the role of pods is taken by {trust['Condition']}")
    leads = {"ClusterName": "PodIdentityCluster", "Namespace": "Namespace", "ServiceAccount": "ServiceAccount"}
    association = {name: {"Ref": of} for name, of in leads.items()} | {"RoleArn": {"GetAtt": "PodIdentityRole.Arn"}}
    made = resources["PodIdentityAssociation"]["Properties"]
    expect(made == association, f"the association is {made}, not {association}")
    for name in ("Namespace", "ServiceAccount"):
        expect(defaults[name] == "kinetail", f"the manifests' {name} is not {defaults[name]}")
    return len(ROLES)


def check_policy(binary):
    """That the stack's role may do to each of its streams what the binary needs for it, and nothing else anywhere."""
    resources = template()["Resources"]
    types = {DELIVERY_STREAM: "firehose", DATA_STREAM: "kinesis"}
    streams = {name: types[made["Type"]] for name, made in resources.items() if made["Type"] in types}
    config = {
        "data_dir": "/var/lib/kinetail",
        "destinations": {
            name: {"type": kind, "stream": name, "region": "eu-central-1"}
            | ({"packing": "newline"} if kind == "firehose" else {"aggregation": "none"})
            for name, kind in streams.items()
        },
        "routes": [{"files": "/var/log/app/*.log", "to": list(streams)}],
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(config, file)
        file.flush()
        asked = [binary, "iam-policy", "--account", "111122223333", "--config", file.name]
        printed = json.loads(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
    needed = {
        (arn.rpartition("/")[2], action)
        for statement in printed["Statement"]
        for arn in listed(statement["Resource"])
        for action in listed(statement["Action"])
    }
    policy = resources["WritePolicy"]["Properties"]["PolicyDocument"]
    given = {
        (resource["GetAtt"].removesuffix(".Arn") if set(resource) == {"GetAtt"} else str(resource), action)
        for statement in policy["Statement"]
        for resource in listed(statement["Resource"])
        for action in listed(statement["Action"])
    }
    expect({stream for stream, _ in needed} == set(streams), f"iam-policy is about {needed}, the stack makes {set(streams)}")
    expect(not needed - given, f"the stack's policy lacks {sorted(needed - given)}")
    expect(not given - needed, f"the stack's policy allows more than iam-policy prints: {sorted(given - needed)}")
    expect(all(set(s) == {"Effect", "Action", "Resource"} for s in policy["Statement"]), "the stack's policy has other keys")
    for name in ROLES:
        role = resources[name]["Properties"]
        expect(role["ManagedPolicyArns"] == [{"Ref": "WritePolicy"}] and "Policies" not in role, f"{name} has other policies")
    return len(streams)


