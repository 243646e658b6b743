//! The configuration: what the user wrote, and what was made of it.

mod settings;

pub use settings::{AdminSettings, Config, DestinationConfig, LogFormat, LogSettings, RouteConfig};
