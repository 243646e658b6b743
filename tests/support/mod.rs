//! What scenario tests are told with.
//!
//! - [`browser`]: headless Chromium.
//! - [`endpoint`]: the two services, inside of the test's process, with faults and an exact account.
//! - [`clients`]: the SDK's own clients for an endpoint or for moto.
//! - [`commands`]: the commands, beside an agent or without one.
//! - [`container`]: the real binary confined as a pod or a unit is.
//! - [`door`]: a place on the network where nobody answers until it is opened.
//! - [`identity`]: stand-ins for STS and the metadata services, which hand out credentials.
//! - [`journald`]: a real systemd-journald with folders of its own.
//! - [`kubernetes`]: a stand-in for the API server of Kubernetes.
//! - [`logs`]: writers that write logs as container runtimes and kubelet do.
//! - [`network`]: the networks of a node and its pods.
//! - [`process`]: the real binary as a child process.
//! - [`proxy`]: a forward proxy.
//! - [`scene`]: logs, endpoint and agent put together.
//! - [`simulated`]: the dispatcher and an endpoint on a clock that the test moves.
//! - [`unit`]: the packaged unit's command line, user and capability.
//! - [`moto`]: the independent judge, read back with boto3.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "every test binary uses a part of it")]

pub mod browser;
pub mod clients;
pub mod commands;
pub mod container;
pub mod door;
pub mod endpoint;
pub mod identity;
pub mod journald;
pub mod kubernetes;
pub mod logs;
pub mod moto;
pub mod network;
pub mod process;
pub mod proxy;
pub mod scene;
pub mod simulated;
pub mod unit;
