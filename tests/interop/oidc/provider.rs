use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// `oidc-provider`, as a process.
pub(super) struct Provider {
    pub(super) issuer: String,
    /// Its server's certificate.
    pub(super) certificate: PathBuf,
    process: Child,
}

impl Provider {
    /// Starts it. It tells `logout` of who signs out there, whose server it checks by the root certificate `root`.
    pub(super) fn start(dir: &Path, logout: &str, root: &Path) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/oidc");
        assert!(
            here.join("node_modules").exists(),
            "`./tests/run tests` installs what {} needs",
            here.display()
        );
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let (certificate, key) = (dir.join("provider.crt"), dir.join("provider.key"));
        std::fs::write(&certificate, own.cert.pem()).expect("writable");
        std::fs::write(&key, own.signing_key.serialize_pem()).expect("writable");
        let mut process = Command::new("node")
            .arg(here.join("server.mjs"))
            .args([&certificate, &key])
            .arg(logout)
            .env("NODE_EXTRA_CA_CERTS", root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node runs");
        // What it has to say about its settings comes first.
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let issuer = lines.find(|line| line.starts_with("https://127.0.0.1:"));
        std::thread::spawn(move || lines.for_each(drop)); // or it could not go on speaking
        Self { issuer: issuer.expect("it starts"), certificate, process }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have ended
        let _ = self.process.wait();
    }
}
