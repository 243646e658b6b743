//! Every key that sources have, as far as it is known, and why one is not carried over.
//!
//! `docs/migrating.md` has a table of the same name for each of these, with a row for each key; a test compares them.

mod fluent;

pub(super) use fluent::*;

/// The keys of a part of a source.
#[derive(Debug)]
pub(super) struct Table {
    /// The name of the table in `docs/migrating.md`.
    pub(super) name: &'static str,
    pub(super) keys: &'static [Known],
}

/// A key.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) key: &'static str,
    /// Why it is not carried over; empty for what is.
    pub(super) why: &'static str,
}

impl Table {
    /// What is known of a key. A number at a key's end stands for the `N` of the table's.
    pub(super) fn known(&self, key: &str) -> Option<&'static Known> {
        let general = match key.rsplit_once('_') {
            Some((stem, number)) if number.parse::<u32>().is_ok() => format!("{stem}_N"),
            _ => String::new(),
        };
        let is =
            |known: &&Known| known.key.eq_ignore_ascii_case(key) || known.key.eq_ignore_ascii_case(&general);
        self.keys.iter().find(is)
    }
}

const fn yes(key: &'static str) -> Known {
    Known { key, why: "" }
}

const fn no(key: &'static str, why: &'static str) -> Known {
    Known { key, why }
}

const OWN_POOL: &str = "max_in_flight of a destination bounds its requests; it adapts by itself";
const OWN_POSITIONS: &str = "positions are kept in data_dir, of all files";
const OWN_LOG: &str = "kinetail's log goes to standard error, for the journal or the container's log";

pub(super) static AGENT_GLOBAL: Table = Table {
    name: "Kinesis Agent: global",
    keys: &[
        yes("flows"),
        yes("kinesis.endpoint"),
        yes("kinesis.region"),
        yes("firehose.endpoint"),
        yes("firehose.region"),
        no(
            "sts.endpoint",
            "the endpoint of STS is the region's; AWS_ENDPOINT_URL_STS in the environment sets another",
        ),
        yes("cloudwatch.emitMetrics"),
        yes("cloudwatch.endpoint"),
        yes("cloudwatch.namespace"),
        yes("assumeRoleARN"),
        yes("assumeRoleExternalId"),
        no(
            "awsAccessKeyId",
            "keys do not belong into a configuration; use a role, a profile or AWS_ACCESS_KEY_ID",
        ),
        no(
            "awsSecretAccessKey",
            "keys do not belong into a configuration; use a role, a profile or AWS_SECRET_ACCESS_KEY",
        ),
        no(
            "userDefinedCredentialsProvider.classname",
            "there are no classes to load; use a role, a profile or credential_process",
        ),
        no(
            "userDefinedCredentialsProvider.location",
            "there are no classes to load; use a role, a profile or credential_process",
        ),
        no("checkpointFile", OWN_POSITIONS),
        yes("log.level"),
        no("log.file", OWN_LOG),
        no("log.maxBackupIndex", OWN_LOG),
        no("log.maxFileSize", OWN_LOG),
        no("maxConnections", OWN_POOL),
        no("maxSendingThreads", OWN_POOL),
        no("maxSendingThreadsPerCore", OWN_POOL),
        no("sendingThreadsKeepAliveMillis", OWN_POOL),
        no("sendingThreadsMaxQueueSize", OWN_POOL),
    ],
};

pub(super) static AGENT_FLOW: Table = Table {
    name: "Kinesis Agent: a flow",
    keys: &[
        yes("filePattern"),
        yes("deliveryStream"),
        yes("kinesisStream"),
        yes("initialPosition"),
        yes("maxBufferAgeMillis"),
        yes("maxBufferSizeRecords"),
        yes("maxBufferSizeBytes"),
        no(
            "minTimeBetweenFilePollsMillis",
            "writes are noticed at once, by inotify; tail.poll_interval is for where they cannot be",
        ),
        yes("multiLineStartPattern"),
        yes("skipHeaderLines"),
        no(
            "truncatedRecordTerminator",
            "a line that is too long is cut at tail.max_line, and a record that is too long for the service becomes a dead letter",
        ),
        yes("partitionKeyOption"),
        yes("aggregatedRecordSizeBytes"),
        yes("dataProcessingOptions"),
        yes("retryInitialBackoffMillis"),
        yes("retryMaxBackoffMillis"),
    ],
};

pub(super) static AGENT_OPTION: Table = Table {
    name: "Kinesis Agent: processing options",
    keys: &[
        yes("optionName"),
        yes("parseOptions"),
        yes("customFieldNames"),
        yes("delimiter"),
        yes("logFormat"),
        yes("matchPattern"),
        yes("metadata"),
        yes("timestamp"),
        yes("metadataTTL"),
        no("jsonFormat", "JSON is always compact: a record is one line"),
    ],
};

/// What `optionName` may be.
pub(super) static AGENT_OPTIONS: Table = Table {
    name: "Kinesis Agent: optionName",
    keys: &[
        yes("SINGLELINE"),
        yes("CSVTOJSON"),
        yes("LOGTOJSON"),
        yes("ADDMETADATA"),
        yes("ADDEC2METADATA"),
        yes("ADDBRACKETS"),
    ],
};

/// All of them, in the order of the page.
#[cfg(test)]
pub(super) static ALL: [&Table; 15] = [
    &AGENT_GLOBAL,
    &AGENT_FLOW,
    &AGENT_OPTION,
    &AGENT_OPTIONS,
    &SERVICE,
    &TAIL,
    &SYSTEMD,
    &PARSER,
    &MULTILINE_PARSER,
    &KUBERNETES,
    &PARSER_FILTER,
    &GREP,
    &MODIFY,
    &MODIFY_CONDITIONS,
    &OUTPUT,
];
