//! The packaged unit's command line, user and capability, for a [`Container`].

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::container::Container;

/// Stands for the user `kinetail`: one that owns nothing on this machine.
pub const USER: u32 = 64_999;

/// The settings of the unit's section `[Service]`, and the shipped file of another's variables.
pub fn unit() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/systemd/kinetail.service");
    let text = fs::read_to_string(path).expect("the unit");
    let settings = text.lines().filter(|line| !line.starts_with(['#', '[']));
    settings.filter_map(|line| line.split_once('=')).map(|(key, value)| (key.into(), value.into())).collect()
}

/// What runs as the unit says. Mounts and environment are to be added.
pub fn container() -> Container {
    let unit = unit();
    let mut words = unit["ExecStart"].split(' ').map(str::to_owned);
    assert_eq!(words.next().as_deref(), Some("/usr/bin/kinetail"));
    assert_eq!(unit["AmbientCapabilities"], unit["CapabilityBoundingSet"]);
    let capability = unit["AmbientCapabilities"].strip_prefix("CAP_").expect("a capability").to_lowercase();
    Container {
        arguments: words.collect(),
        user: (USER, USER),
        capabilities: vec![capability],
        ..Container::default()
    }
}
