//! The ways to deliver to a destination that are worth comparing.

use crate::deliver::{Aggregation, Destination, Packing};
use crate::units::ByteSize;

/// One way to deliver.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Variant {
    /// As the configuration says it.
    pub(super) name: String,
    pub(super) to: Destination,
    /// Whether each record of the service is compressed, as one member of gzip.
    pub(super) gzip: bool,
}

impl Variant {
    fn new(name: &str, to: Destination) -> Self {
        Self { name: name.to_owned(), to, gzip: false }
    }

    fn gzip(self) -> Self {
        Self { name: format!("{}, gzip", self.name), gzip: true, ..self }
    }
}

/// The variants of a destination's settings; none for local files, which cost nothing. What the configuration says
/// keeps its limits, what it does not say has the defaults.
pub(super) fn of(to: &Destination) -> Option<Vec<Variant>> {
    let mut variants = match to {
        Destination::Directory(_) => return None,
        Destination::Firehose(settings) => {
            let packed = match settings.packing {
                Packing::None => Packing::Newline { max_size: ByteSize(1000 << 10), max_lines: 500 },
                packed => packed,
            };
            let with = |packing| {
                let mut settings = settings.clone();
                settings.packing = packing;
                Destination::Firehose(settings)
            };
            let newline = Variant::new("packing: newline", with(packed));
            vec![newline.clone(), newline.gzip(), Variant::new("packing: none", with(Packing::None))]
        }
        Destination::Kinesis(settings) => {
            let joined = match settings.aggregation {
                joined @ Aggregation::Newline { .. } => joined,
                _ => Aggregation::Newline { max_size: ByteSize(50 << 10) },
            };
            let with = |aggregation| {
                let mut settings = settings.clone();
                settings.aggregation = aggregation;
                Destination::Kinesis(settings)
            };
            let newline = Variant::new("aggregation: newline", with(joined));
            vec![newline.clone(), newline.gzip(), Variant::new("aggregation: none", with(Aggregation::None))]
        }
    };
    // Whatever else the configuration says is told too.
    if variants.iter().all(|variant| variant.to != *to) {
        variants.insert(0, Variant::new("as configured", to.clone()));
    }
    Some(variants)
}
