//! A pod as the path of its log file names it.

use std::path::Path;

use serde_json::{Map, Value};

/// A container of a pod. Parsed from one of two layouts, of which the last components decide, wherever the
/// folder that holds them lies:
///
/// | layout | written by |
/// |---|---|
/// | `<namespace>_<pod>_<uid>/<container>/<restart>.log` | kubelet, under `/var/log/pods` |
/// | `containers/<pod>_<namespace>_<container>-<id>.log` | kubelet: symbolic links to the former |
///
/// In the first, kubelet's rotated names `<restart>.log.<YYYYMMDD-HHMMSS>` and the same with `.gz` are known
/// too. The names must be what Kubernetes admits (RFC 1123 labels, a pod's name a subdomain), so that no
/// other file is taken for a pod's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's UID; for a static pod the hash of its configuration. Only in the first layout.
    pub uid: Option<String>,
    /// The container's name.
    pub container: String,
    /// How often the container was started again before it wrote this file. Only in the first layout.
    pub restart: Option<u32>,
    /// The container's id, 64 hexadecimal digits. Only in the second layout.
    pub container_id: Option<String>,
}

impl Pod {
    /// The pod that this path tells of, if it is the path of a container's log.
    pub fn from_path(path: &Path) -> Option<Self> {
        let mut components = path.components().rev().map(|part| part.as_os_str().to_str());
        let file = components.next()??;
        let folder = components.next()??;
        if folder == "containers" {
            Self::from_link(file)
        } else {
            Self::from_log(components.next()??, folder, file)
        }
    }

    fn from_log(pod: &str, container: &str, file: &str) -> Option<Self> {
        let mut parts = pod.split('_');
        let (namespace, name, uid) = (parts.next()?, parts.next()?, parts.next()?);
        let is_uid =
            (1..=63).contains(&uid.len()) && uid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let valid = parts.next().is_none() && is_label(namespace) && is_subdomain(name) && is_uid;
        if !valid || !is_label(container) {
            return None;
        }
        Some(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: Some(uid.to_owned()),
            container: container.to_owned(),
            restart: Some(restart(file)?),
            container_id: None,
        })
    }

    fn from_link(file: &str) -> Option<Self> {
        let mut parts = file.strip_suffix(".log")?.split('_');
        let (name, namespace, rest) = (parts.next()?, parts.next()?, parts.next()?);
        let (container, id) = rest.rsplit_once('-')?;
        let is_id = id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
        let valid =
            parts.next().is_none() && is_subdomain(name) && is_label(namespace) && is_label(container);
        (valid && is_id).then(|| Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: None,
            container: container.to_owned(),
            restart: None,
            container_id: Some(id.to_owned()),
        })
    }

    /// What a record carries under `kubernetes`, in the names that Fluent Bit's users know: `namespace_name`,
    /// `pod_name`, `pod_id`, `container_name`, `docker_id` (a container's id, of whatever runtime), and
    /// `container_restart_count`, a number. Unknown ones are left out.
    pub fn fields(&self) -> Map<String, Value> {
        let fields: [(&str, Option<Value>); 6] = [
            ("namespace_name", Some(self.namespace.as_str().into())),
            ("pod_name", Some(self.name.as_str().into())),
            ("pod_id", self.uid.as_deref().map(Value::from)),
            ("container_name", Some(self.container.as_str().into())),
            ("docker_id", self.container_id.as_deref().map(Value::from)),
            ("container_restart_count", self.restart.map(Value::from)),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

/// The number in `<restart>.log`, also where kubelet has rotated the file.
fn restart(file: &str) -> Option<u32> {
    let (number, rest) = file.split_once(".log")?;
    if !rest.is_empty() {
        let stamp = rest.strip_prefix('.')?;
        let stamp = stamp.strip_suffix(".gz").unwrap_or(stamp);
        let (date, time) = stamp.split_once('-')?;
        if date.len() != 8 || time.len() != 6 || !is_number(date) || !is_number(time) {
            return None;
        }
    }
    is_number(number).then(|| number.parse().ok())?
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A label of RFC 1123, at most 63 long.
fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_dns_text(text)
}

/// A subdomain of RFC 1123, at most 253 long; Kubernetes bounds only the whole.
fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_text)
}

/// Some of `a-z`, `0-9` and `-`, the last not at either end.
fn is_dns_text(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(allowed) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0c6a3d8e-5f0b-4a58-9a35-1f6ad2a1f001";
    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn of(path: &str) -> Option<Pod> {
        Pod::from_path(Path::new(path))
    }

    #[test]
    fn kubelets_paths_tell_the_pod_also_after_rotation() {
        for (file, restart) in
            [("0.log", 0), ("17.log", 17), ("3.log.20260101-101010", 3), ("3.log.20260101-101010.gz", 3)]
        {
            for root in ["/var/log/pods", "/tmp/test", "", "relative"] {
                let pod = of(&format!("{root}/payments_api-7d9.v2_{UID}/server/{file}")).unwrap();
                let expected = Pod {
                    namespace: "payments".into(),
                    name: "api-7d9.v2".into(),
                    uid: Some(UID.into()),
                    container: "server".into(),
                    restart: Some(restart),
                    container_id: None,
                };
                assert_eq!(pod, expected, "{root} {file}");
            }
        }
        let of_static =
            of("/var/log/pods/kube-system_etcd-node1_9d1f0b3c0a7e4f58b6d2c1a0e9f8d7c6/etcd/0.log");
        assert_eq!(of_static.unwrap().uid.unwrap(), "9d1f0b3c0a7e4f58b6d2c1a0e9f8d7c6");
    }

    #[test]
    fn links_tell_the_pod_and_the_containers_id() {
        let pod = of(&format!("/var/log/containers/api-0_payments_my-server-{ID}.log")).unwrap();
        let expected = Pod {
            namespace: "payments".into(),
            name: "api-0".into(),
            uid: None,
            container: "my-server".into(),
            restart: None,
            container_id: Some(ID.into()),
        };
        assert_eq!(pod, expected);
    }

    #[test]
    fn other_paths_are_no_pods() {
        for path in [
            "",
            "/",
            "0.log",
            "server/0.log",
            "/var/log/nginx/access.log",
            "/var/log/pods/payments_api/server/0.log",
            "/var/log/pods/payments_api_uid_more/server/0.log",
            "/var/log/pods/Payments_api_uid/server/0.log",
            "/var/log/pods/-a_api_uid/server/0.log",
            "/var/log/pods/payments_api..x_uid/server/0.log",
            "/var/log/pods/payments__uid/server/0.log",
            "/var/log/pods/payments_api_/server/0.log",
            "/var/log/pods/payments_api_u/id/server/0.log",
            "/var/log/pods/payments_api_uid/ser.ver/0.log",
            "/var/log/pods/payments_api_uid/server/x.log",
            "/var/log/pods/payments_api_uid/server/+1.log",
            "/var/log/pods/payments_api_uid/server/99999999999.log",
            "/var/log/pods/payments_api_uid/server/.log",
            "/var/log/pods/payments_api_uid/server/0.log.tmp",
            "/var/log/pods/payments_api_uid/server/0.log.20260101-101010.tmp",
            "/var/log/pods/payments_api_uid/server/0.log.20260101",
            "/var/log/pods/payments_api_uid/server/0.log.gz",
            "/var/log/pods/payments_api_uid/server/0.logs",
            "/var/log/containers/api_payments_server-0123.log",
            "/var/log/containers/api_payments_server.log",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
        assert_eq!(of(&format!("/var/log/elsewhere/api-0_payments_server-{ID}.log")), None);
        assert_eq!(of(&format!("/{}_a_uid/c/0.log", "x".repeat(64))), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_utf_8_is_no_pod() {
        use std::os::unix::ffi::OsStrExt;
        let path = std::ffi::OsStr::from_bytes(b"/pods/payments_api_uid/ser\xffver/0.log");
        assert_eq!(Pod::from_path(Path::new(path)), None);
    }

    #[test]
    fn fields_have_the_names_that_dashboards_use() {
        let fields = of(&format!("/pods/payments_api_{UID}/server/2.log")).unwrap().fields();
        let expected = serde_json::json!({
            "namespace_name": "payments",
            "pod_name": "api",
            "pod_id": UID,
            "container_name": "server",
            "container_restart_count": 2,
        });
        assert_eq!(Value::Object(fields), expected);
    }
}
