//! The status page in a real browser: headless Chromium runs it against a real agent, and is used as people use it.

mod support;

use serde_json::{Value, json};
use support::browser::{Browser, ENTER, RIGHT, TAB};
use support::endpoint::{ErrorAnswer, Fault, Rule};
use support::logs::{self, Container, Format, Writer};
use support::process::{Agent, until};
use support::scene::{ARCHIVE, AUDIT, Scene};

/// An agent of which one destination is denied, and which has read three files; and a browser that shows its page.
async fn shown(folder: &tempfile::TempDir) -> Option<(Scene, Agent, Browser)> {
    let scene = Scene::plain()
        .await
        .destination("retry: {initial_backoff: 10ms, max_backoff: 50ms}")
        .setting("drain_timeout: 1s")
        .setting("admin: {listen: '127.0.0.1:0'}");
    let denied = ErrorAnswer::new(403, "AccessDeniedException", "not allowed <b>to put</b> records");
    scene.endpoint.inject(Rule::new(Fault::Answer(denied)).stream(AUDIT));
    let throttled = Fault::RefuseEntries { chance: 1.0, with: ErrorAnswer::service_unavailable() };
    scene.endpoint.inject(Rule::new(throttled).stream(ARCHIVE).times(1));
    let mut writers = logs::containers(&scene.root(), 3);
    let agent = scene.start().await;
    writers.iter_mut().for_each(|writer| writer.lines(10));
    agent.logged("destination_denied").await;
    until(async || agent.metric("kinetail_delivered_records_total{destination=\"archive\"}").await == 30.0)
        .await;
    let url = format!("http://{}/", agent.address().await);
    let mut browser = Browser::open(folder.path(), &url).await?;
    browser.until("document.querySelectorAll('#files tr').length === 3").await;
    Some((scene, agent, browser))
}

/// What has the focus, and whether that can be seen.
async fn focus(browser: &mut Browser) -> (String, bool) {
    let at = browser
        .evaluate(
            "(() => {
                const e = document.activeElement, style = getComputedStyle(e);
                return {
                    name: e.getAttribute('href') || e.getAttribute('aria-label') || e.id,
                    seen: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
                };
            })()",
        )
        .await;
    (at["name"].as_str().expect("a name").to_owned(), at["seen"] == true)
}

#[tokio::test]
async fn the_page_shows_in_a_browser_what_the_status_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some((_scene, agent, mut browser)) = shown(&folder).await else { return };
    let page = browser.evaluate("document.documentElement.outerHTML").await;
    let page = page.as_str().expect("a page");
    for shown in [
        ">not ready</span>",
        "destination audit: denied for ",
        "<strong>archive</strong>",
        ">fine</td>",
        ">denied</td>",
        "<td>logs</td><td>archive, audit</td>",
        "3 of the 3 that are the furthest behind",
        // Text of a service is text.
        "not allowed &lt;b&gt;to put&lt;/b&gt; records",
    ] {
        assert!(page.contains(shown), "{shown} in\n{page}");
    }
    agent.terminate().await;
}

/// A destination as `/api/status` has it.
fn of<'a>(status: &'a Value, destination: &str) -> &'a Value {
    let destinations = status["destinations"].as_array().expect("destinations");
    destinations.iter().find(|it| it["name"] == destination).expect("each of them")
}

/// What the page is told now, and the texts of its destinations by name and head of the column.
const FIGURES: &str = "look().then(() => {
    const heads = [...$('destinations').closest('table').tHead.rows[0].cells].map(cell => cell.textContent.trim());
    const texts = {};
    for (const row of $('destinations').rows) {
        const cells = [...row.cells].map((cell, at) => [heads[at], cell.textContent]);
        texts[row.querySelector('strong').textContent] = Object.fromEntries(cells);
    }
    return { told: state, texts };
})";

#[tokio::test]
async fn figures_of_destinations_are_those_of_the_status() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some((_scene, agent, mut browser)) = shown(&folder).await else { return };
    let before = agent.status().await;
    let page = browser.evaluate(FIGURES).await;
    let after = agent.status().await;
    let text = |destination: &str, head: &str| page["texts"][destination][head].as_str().expect("a cell");
    for (destination, head, key) in [
        (AUDIT, "Waiting records", "/backlog/records"),
        (ARCHIVE, "Sent again", "/retried_records"),
        (ARCHIVE, "Throttled", "/throttled_entries"),
    ] {
        let number = |status: &Value| of(status, destination).pointer(key).and_then(Value::as_u64);
        let expected = number(&before).expect(key);
        assert!(expected > 0 && number(&after) == Some(expected), "{key} stands still: {before} {after}");
        assert_eq!(text(destination, head), expected.to_string(), "{head} of {destination}");
    }
    // The lag grows meanwhile.
    let lag = |status: &Value| of(status, AUDIT)["lag_seconds"].as_f64().expect("a lag");
    let seconds = lag(&page["told"]);
    assert!(lag(&before) <= seconds && seconds <= lag(&after), "{before} {page} {after}");
    let words = match seconds {
        ..1.0 => "0 s".to_owned(),
        ..120.0 => format!("{} s", seconds.round()),
        _ => format!("{} min", (seconds / 60.0).round()),
    };
    assert_eq!(text(AUDIT, "Behind"), words);
    agent.terminate().await;
}

#[tokio::test]
async fn what_is_new_comes_to_the_page_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some((scene, agent, mut browser)) = shown(&folder).await else { return };
    let mut fresh = Writer::container(&scene.root(), &Container::of_pod("fresh"), Format::Containerd);
    fresh.lines(1);
    browser.until("[...$('files').rows].some(row => row.cells[0].textContent.includes('shop_fresh_'))").await;
    let loads = browser.evaluate("performance.getEntriesByType('navigation').length").await;
    assert_eq!(loads, 1, "without another load");
    agent.terminate().await;
}

#[tokio::test]
async fn everything_on_the_page_is_reached_and_used_with_the_keyboard_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some((_scene, agent, mut browser)) = shown(&folder).await else { return };
    // As narrow as a telephone, where tables are wider than the page.
    let narrow = json!({ "width": 320, "height": 600, "deviceScaleFactor": 1, "mobile": false });
    browser.call("Emulation.setDeviceMetricsOverride", narrow).await;
    let mut stops = Vec::new();
    for _ in 0..7 {
        browser.press(&TAB).await;
        let (name, seen) = focus(&mut browser).await;
        assert!(seen, "nobody sees that {name} has the focus");
        if name == "Destinations" {
            browser
                .evaluate(
                    "scrolled = new Promise(come => document.activeElement.addEventListener('scroll', come)); 0",
                )
                .await;
            browser.press(&RIGHT).await;
            browser.evaluate("scrolled.then(() => 0)").await;
            let left = browser.evaluate("document.activeElement.scrollLeft").await;
            assert!(left.as_f64() > Some(0.0), "a table goes on to the right, and so does who reads it");
        }
        if name == "filter" {
            let first = browser.evaluate("document.querySelector('#files td').textContent").await;
            let pod = first.as_str().and_then(|path| path.rsplit('/').nth(2)).expect("a pod").to_owned();
            let letters: String = pod.chars().take_while(|letter| letter.is_ascii_lowercase()).collect();
            browser.write(&letters).await;
            let shown = browser.evaluate("$('files').rows.length").await;
            assert!(shown.as_u64() > Some(0), "{letters} is in the first path");
            browser.write("Q").await;
            let shown = browser.evaluate("document.getElementById('shown').textContent").await;
            assert_eq!(shown, "0 of the 3 that are the furthest behind");
            // What comes new from the agent takes neither the text nor the focus away.
            browser.evaluate("look()").await;
            let (name, _) = focus(&mut browser).await;
            let kept = browser.evaluate("[$('filter').value, $('files').rows.length]").await;
            assert_eq!((name.as_str(), kept), ("filter", json!([format!("{letters}Q"), 0])));
        }
        stops.push(name);
    }
    assert_eq!(
        stops,
        ["/readyz", "/metrics", "/api/status", "Destinations", "Routes", "filter", "Files"],
        "in the order in which they are read"
    );
    browser.go(&format!("http://{}/", agent.address().await)).await;
    browser.press(&TAB).await;
    browser.press(&ENTER).await;
    browser.loaded().await;
    let there = browser
        .evaluate("[location.pathname, document.body.textContent.includes('destination audit')]")
        .await;
    assert_eq!(there, json!(["/readyz", true]));
    agent.terminate().await;
}

/// Whether the page is dark, and what the browser draws in it, and each text that does not stand out from what is behind it by 4.5 to 1 (WCAG 2.2, 1.4.3).
const CONTRAST: &str = "(() => {
    const rgb = color => color.match(/[\\d.]+/g).map(Number);
    const light = color => {
        const [r, g, b] = rgb(color).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = e => {
        for (; e; e = e.parentElement) {
            const color = getComputedStyle(e).backgroundColor, [, , , alpha] = rgb(color);
            if (alpha === undefined || alpha > 0) return color;
        }
        return 'none';
    };
    const poor = [];
    let texts = 0;
    for (const e of document.querySelectorAll('body *:not(script)')) {
        if (![...e.childNodes].some(node => node.nodeType === 3 && node.data.trim()) && e.tagName !== 'INPUT') continue;
        texts += 1;
        const [one, other] = [light(getComputedStyle(e).color), light(ground(e))].sort((a, b) => b - a);
        const ratio = (one + 0.05) / (other + 0.05);
        if (ratio < 4.5) poor.push(`${e.tagName} ${e.textContent}: ${ratio}`);
    }
    const own = document.createElement('p');
    own.style.background = 'Canvas';
    document.body.append(own);
    const canvas = getComputedStyle(own).backgroundColor;
    own.remove();
    return { dark: light(ground(document.body)) < 0.1, own: light(canvas) < 0.1, poor, texts };
})()";

#[tokio::test]
async fn the_page_follows_the_readers_wish_for_dark_and_can_be_read_either_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some((_scene, agent, mut browser)) = shown(&folder).await else { return };
    for scheme in ["light", "dark", "light"] {
        let wish = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.call("Emulation.setEmulatedMedia", wish).await;
        let seen: Value = browser.evaluate(CONTRAST).await;
        assert_eq!(seen["dark"], scheme == "dark", "{scheme}: {seen}");
        assert_eq!(seen["poor"], json!([]), "{scheme}");
        assert!(seen["texts"].as_u64() > Some(30), "{seen}");
        // What the browser draws itself, such as the bars and the field, goes along.
        assert_eq!(seen["own"], seen["dark"], "{scheme}: {seen}");
    }
    agent.terminate().await;
}
