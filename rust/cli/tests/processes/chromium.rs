//! Somebody else's browser at the sign-in page: Chromium, driven by WebDriver (W3C), with scripts turned off.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use ztna_model::OrgString;

use crate::person;
use crate::process::until;
use crate::world::World;

/// A window of a browser that knows no certificate authority of ours: it is told to go on where a person would be asked.
pub(crate) struct Window {
    http: reqwest::Client,
    session: String,
    _driver: Child,
}

/// Not run: nobody needs any to sign in.
const NO_SCRIPTS: u8 = 2;

impl Window {
    /// One without scripts.
    async fn open(org: &OrgString) -> Self {
        Self::open_with(
            org,
            &[],
            json!({ "profile.managed_default_content_settings.javascript": NO_SCRIPTS }),
        )
        .await
    }

    pub(crate) async fn open_with(org: &OrgString, args: &[&str], prefs: Value) -> Self {
        let mut driver = Command::new("chromedriver");
        let driver = driver.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut driver = driver.spawn().expect("`./tests/run` installs chromium-driver");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next_line().await.unwrap().expect("it says its port");
            if let Some((_, port)) = line.split_once("successfully on port ") {
                break port.trim_end_matches('.').parse::<u16>().unwrap();
            }
        };
        // No sandbox: tests run as root in containers.
        let args = [&["--headless=new", "--no-sandbox", "--disable-dev-shm-usage"], args].concat();
        let options = json!({ "args": args, "prefs": prefs });
        let wanted = json!({ "alwaysMatch": { "acceptInsecureCerts": true, "goog:chromeOptions": options } });
        let http = person::browser(org);
        let mut window = Self { http, session: format!("http://127.0.0.1:{port}/session"), _driver: driver };
        let opened = window.post("", json!({ "capabilities": wanted })).await;
        let id = opened["sessionId"].as_str().unwrap_or_else(|| panic!("{opened}"));
        window.session = format!("{}/{id}", window.session);
        window
    }

    async fn post(&self, command: &str, body: Value) -> Value {
        let sent = self.http.post(format!("{}{command}", self.session)).json(&body).send().await;
        sent.unwrap().json::<Value>().await.unwrap()["value"].take()
    }

    pub(crate) async fn get(&self, command: &str) -> Value {
        let sent = self.http.get(format!("{}{command}", self.session)).send().await;
        sent.unwrap().json::<Value>().await.unwrap()["value"].take()
    }

    pub(crate) async fn go(&self, address: &str) {
        self.post("/url", json!({ "url": address })).await;
    }

    async fn address(&self) -> String {
        self.get("/url").await.as_str().unwrap_or_default().to_owned()
    }

    /// The element that a CSS selector finds, as a part of further commands' paths.
    async fn find(&self, selector: &str) -> Option<String> {
        let found = self.post("/element", json!({ "using": "css selector", "value": selector })).await;
        Some(format!("/element/{}", found[ELEMENT].as_str()?))
    }

    /// What a person reads there.
    async fn text(&self, selector: &str) -> String {
        let Some(element) = self.find(selector).await else { return String::new() };
        self.get(&format!("{element}/text")).await.as_str().unwrap_or_default().to_owned()
    }

    async fn write(&self, selector: &str, text: &str) {
        let element = self.find(selector).await.unwrap_or_else(|| panic!("no {selector}"));
        self.post(&format!("{element}/clear"), json!({})).await;
        self.post(&format!("{element}/value"), json!({ "text": text })).await;
    }

    async fn press(&self, selector: &str) {
        let element = self.find(selector).await.unwrap_or_else(|| panic!("no {selector}"));
        self.post(&format!("{element}/click"), json!({})).await;
    }

    /// Ends the browser with its driver.
    pub(crate) async fn close(self) {
        self.http.delete(&self.session).send().await.unwrap();
    }
}

#[tokio::test]
async fn a_person_signs_in_with_chromium_and_without_a_script() {
    let world = World::new().await;
    let (process, page) = world.ask_to_sign_in().await;
    let window = Window::open(&world.org).await;
    world.done(&["settings", "set", "title", "Acme Works"]).await;
    window.go(&page).await;
    assert_eq!(window.text(".organisation").await, "Acme Works");
    window.write("input[name=username]", "ana").await;
    window.write("input[name=password]", "a guess").await;
    window.press("button").await;
    until("the page says that it did not work", || async {
        window.text("body").await.contains("is not right").then_some(())
    })
    .await;
    window.write("input[name=password]", &world.password).await;
    window.press("button").await;
    until("the connector says that it has heard", || async {
        window.text("body").await.contains("You can close this window").then_some(())
    })
    .await;
    let address = window.address().await;
    assert!(address.starts_with("http://127.0.0.1:"), "{address}");
    assert!(!address.contains("code="), "the code does not stay in the browser's history: {address}");
    window.close().await;
    let ana = world.connected(process).await;
    world.until_reached(&ana.proxy, "wiki.test").await;
}

#[tokio::test]
async fn another_site_cannot_show_the_sign_in_page_in_a_frame() {
    let world = World::new().await;
    let (_process, page) = world.ask_to_sign_in().await;
    let window = Window::open(&world.org).await;
    window.go(&page).await;
    assert!(window.find("form").await.is_some(), "by itself it is shown");
    window.go(&format!("data:text/html,<iframe src='{}'></iframe>", page.replace('&', "%26"))).await;
    let frame = window.find("iframe").await.expect("there is a frame");
    let id = frame.trim_start_matches("/element/");
    window.post("/frame", json!({ "id": { ELEMENT: id } })).await;
    assert_eq!(window.find("form").await, None);
    window.close().await;
}

/// By this key WebDriver names elements (W3C WebDriver, section 12).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
