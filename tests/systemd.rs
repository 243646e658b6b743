//! The unit's own command line as its user, with its one capability and a service manager's socket.

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use support::container::{Container, Mount, possible};
use support::endpoint::{Endpoint, Stream, patiently};
use support::logs::Writer;
use support::unit::{USER, container, unit};
use tokio::net::UnixDatagram;

/// What the service manager is told, as it comes.
struct ServiceManager(UnixDatagram);

impl ServiceManager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket");
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).expect("it is ours");
        Self(socket)
    }

    /// Waits until it is told this.
    async fn told(&self, what: impl Fn(&str) -> bool) {
        let mut buffer = [0; 4096];
        let hear = async {
            loop {
                let length = self.0.recv(&mut buffer).await.expect("a message");
                if String::from_utf8_lossy(&buffer[..length]).lines().any(&what) {
                    return;
                }
            }
        };
        patiently(|| "the service manager was not told".into(), hear).await;
    }
}

#[tokio::test]
async fn the_unit_tells_that_it_is_ready_how_it_goes_that_it_lives_and_that_it_stops() {
    if !possible() {
        return;
    }
    let unit = unit();
    assert_eq!((unit["Type"].as_str(), unit["NotifyAccess"].as_str()), ("notify", "main"));

    let folder = tempfile::tempdir().expect("a temporary folder");
    let on = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(&path).expect("a folder");
        path
    };
    let (root, run, state, log, etc) = (on("root"), on("run"), on("state"), on("log"), on("etc"));
    chown(&state, Some(USER), Some(USER)).expect("we are root");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).expect("it is ours");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/kinetail.yaml");
    fs::copy(shipped, etc.join("kinetail.yaml")).expect("the shipped configuration");

    let endpoint = Endpoint::tls().stream(Stream::firehose("kinetail-archive")).start().await;
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mount = |from: &Path, at: &str, read_only| Mount { from: from.into(), at: at.into(), read_only };
    let service_manager = ServiceManager::at(&run.join("notify"));
    let confined = Container {
        // What systemd sets, and what EnvironmentFile would hold.
        environment: vec![
            variable("NOTIFY_SOCKET", "/run/notify"),
            variable("WATCHDOG_USEC", "400000"),
            variable("KINETAIL_REGION", "eu-central-1"),
            variable("AWS_ACCESS_KEY_ID", support::clients::ACCESS_KEY),
            variable("AWS_SECRET_ACCESS_KEY", support::clients::SECRET_KEY),
            variable("AWS_ENDPOINT_URL", &endpoint.url()),
        ],
        mounts: vec![
            mount(&run, "/run", false),
            mount(&etc, "/etc/kinetail", true),
            mount(&log, "/var/log", true),
            mount(&state, "/var/lib/kinetail", false),
        ],
        files: vec![
            ("/etc/ssl/certs/ca-certificates.crt", fs::read(endpoint.ca_bundle()).expect("its certificate")),
            ("/etc/hosts", b"127.0.0.1 localhost\n".to_vec()),
        ],
        ..container()
    };
    let process = confined.start(&root);
    service_manager.told(|line| line == "READY=1").await;

    // Of root alone, as /var/log/audit is.
    let mut audit = Writer::plain(log.join("audit/audit.log"), "audit");
    fs::set_permissions(audit.path(), fs::Permissions::from_mode(0o600)).expect("it is ours");
    audit.lines(10);
    // Nobody reads the socket meanwhile, which soon takes no more: delivery does not wait for that.
    endpoint.wait_until(|account| account.stream("kinetail-archive").distinct() >= 10).await;
    endpoint.look(|account| account.stream("kinetail-archive").assert_exactly_once(audit.markers()));

    service_manager.told(|line| line.starts_with("STATUS=10 lines read, 10 records delivered")).await;
    for _ in 0..3 {
        service_manager.told(|line| line == "WATCHDOG=1").await;
    }
    let stopped = tokio::spawn(process.terminate());
    service_manager.told(|line| line == "STOPPING=1").await;
    stopped.await.expect("an orderly end");
}
