//! Headless Chromium, driven over its debugging protocol: two pipes with messages of JSON that end with a zero byte.

use std::path::Path;
use std::process::Stdio;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::pipe::{OpenOptions, Receiver, Sender};
use tokio::process::Command;

use super::endpoint::patiently;
use super::process::Process;

/// A browser with one page. It ends when dropped.
pub struct Browser {
    _process: Process,
    orders: Sender,
    told: BufReader<Receiver>,
    session: Option<String>,
    last: u64,
    /// What happened by itself, by the protocol's names, since the last navigation.
    events: Vec<String>,
}

/// A key, as the protocol names it.
pub struct Key {
    name: &'static str,
    /// Its virtual key code.
    code: u32,
    text: &'static str,
}

pub const TAB: Key = Key { name: "Tab", code: 9, text: "" };
pub const ENTER: Key = Key { name: "Enter", code: 13, text: "\r" };
pub const RIGHT: Key = Key { name: "ArrowRight", code: 39, text: "" };

impl Browser {
    /// With a page at this URL. None where Chromium, which CI installs, is not there.
    pub async fn open(folder: &Path, url: &str) -> Option<Self> {
        let mut version = Command::new("chromium");
        version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        if !version.as_std_mut().status().is_ok_and(|status| status.success()) {
            assert!(std::env::var_os("CI").is_none(), "chromium is not installed");
            eprintln!("skipped, as chromium is not installed");
            return None;
        }
        let pipes = ["orders", "told"].map(|name| folder.join(name));
        for pipe in &pipes {
            mknodat(CWD, pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
        }
        // Open at both ends, so that nobody waits for the other.
        let mut both = OpenOptions::new();
        both.read_write(true);
        let orders = both.open_sender(&pipes[0]).expect("a pipe");
        let told = BufReader::new(both.open_receiver(&pipes[1]).expect("a pipe"));
        let mut command = Command::new("sh");
        command.args(["-c", "exec chromium \"$@\" 3<orders 4>told", "sh"]).current_dir(folder).args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--remote-debugging-pipe",
        ]);
        command.arg(format!("--user-data-dir={}", folder.join("profile").display()));
        let mut browser = Self {
            _process: Process::start(command),
            orders,
            told,
            session: None,
            last: 0,
            events: Vec::new(),
        };
        let page = browser.call("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach).await;
        browser.session = Some(attached["sessionId"].as_str().expect("a session").to_owned());
        browser.call("Emulation.setFocusEmulationEnabled", json!({ "enabled": true })).await;
        browser.call("Page.enable", json!({})).await;
        browser.go(url).await;
        Some(browser)
    }

    /// Goes to another page.
    pub async fn go(&mut self, url: &str) {
        self.events.clear();
        self.call("Page.navigate", json!({ "url": url })).await;
        self.loaded().await;
    }

    /// Waits until the page is loaded to which the last [`go`](Self::go), or what was pressed since, led.
    pub async fn loaded(&mut self) {
        const LOADED: &str = "Page.loadEventFired";
        while !self.events.iter().any(|event| event == LOADED) {
            self.hear().await;
        }
        self.events.clear();
    }

    /// The next message; events are noted.
    async fn hear(&mut self) -> Value {
        let hear = async {
            let mut message = Vec::new();
            self.told.read_until(0, &mut message).await.expect("the browser writes");
            message.pop();
            serde_json::from_slice::<Value>(&message).expect("JSON")
        };
        let message = patiently(|| "a word of the browser".into(), hear).await;
        self.events.extend(message["method"].as_str().map(str::to_owned));
        message
    }

    /// Calls a method of the protocol.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut order = json!({ "id": self.last, "method": method, "params": params });
        if let Some(session) = &self.session {
            order["sessionId"] = session.clone().into();
        }
        let mut message = order.to_string().into_bytes();
        message.push(0);
        self.orders.write_all(&message).await.expect("the browser reads");
        loop {
            let mut answer = self.hear().await;
            if answer["id"] == self.last {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
        }
    }

    /// What an expression comes to in the page. A promise is awaited.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut result = self.call("Runtime.evaluate", params).await;
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    /// Waits until an expression has come true in the page, which is looked at whenever the page changes.
    pub async fn until(&mut self, expression: &str) {
        let wait = format!(
            "new Promise(come => {{
                const look = () => {{ if ({expression}) come(true); }};
                new MutationObserver(look).observe(document, {{ subtree: true, childList: true, characterData: true }});
                look();
            }})"
        );
        self.evaluate(&wait).await;
    }

    /// Presses a key and lets it go.
    pub async fn press(&mut self, key: &Key) {
        self.key(key.name, key.code, key.text).await;
    }

    /// Types a text of letters.
    pub async fn write(&mut self, text: &str) {
        for letter in text.chars() {
            let code = u32::from(letter.to_ascii_uppercase());
            self.key(&letter.to_string(), code, &letter.to_string()).await;
        }
    }

    async fn key(&mut self, name: &str, code: u32, text: &str) {
        let mut params =
            json!({ "type": "keyDown", "key": name, "code": name, "windowsVirtualKeyCode": code });
        if text.is_empty() {
            params["type"] = "rawKeyDown".into();
        } else {
            params["text"] = text.into();
        }
        self.call("Input.dispatchKeyEvent", params.clone()).await;
        params["type"] = "keyUp".into();
        self.call("Input.dispatchKeyEvent", params).await;
    }
}
