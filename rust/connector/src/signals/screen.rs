use super::gvdb;
use super::linux::home;
use super::root::Root;
use super::seen::Seen;
use super::settings::Settings;

/// Whether the screen in front of the person locks by itself.
///
/// The settings of GNOME, Cinnamon and KDE Plasma are read from their own files; what is not written there
/// has the desktop's default. Settings that an administrator has locked are taken like others.
pub(super) fn locks(root: &Root, uid: u32, desktop: Option<&str>) -> Seen {
    let Some(place) = Place::of(root, uid, desktop) else {
        return Seen::unsupported("Nobody sits at a screen of this machine.", SESSIONS);
    };
    let home = home(root, place.uid);
    let name = place.desktop.to_ascii_lowercase();
    let is = |names: &[&str]| names.iter().any(|part| name.contains(part));
    if is(&["cinnamon"]) {
        dconf(root, &home, "/org/cinnamon/desktop")
    } else if is(&["gnome", "ubuntu", "unity", "budgie", "pop"]) {
        dconf(root, &home, "/org/gnome/desktop")
    } else if is(&["kde", "plasma"]) {
        kde(root, &home)
    } else {
        Seen::unknown(format!("The settings of the desktop `{}` are not read.", place.desktop), SESSIONS)
    }
}

/// Who sits at the screen, and before which desktop.
struct Place {
    uid: u32,
    desktop: String,
}

impl Place {
    /// From systemd's list of sessions, or, where there is none, from this process's own surroundings. Root
    /// looks for whoever is there.
    fn of(root: &Root, uid: u32, own: Option<&str>) -> Option<Self> {
        let files = root.names(SESSIONS).unwrap_or_default();
        let texts: Vec<String> =
            files.iter().filter_map(|name| root.text(&format!("{SESSIONS}/{name}")).ok()).collect();
        let sessions = texts.iter().map(|text| Settings::parse(text));
        let mut here: Vec<(bool, Self)> = sessions
            .filter(|session| session.value("", "CLASS").is_some_and(|class| class.starts_with("user")))
            .filter(|session| matches!(session.value("", "TYPE"), Some("x11" | "wayland" | "mir")))
            .filter(|session| session.switch("", "REMOTE") != Some(true))
            .filter_map(|session| {
                let of = session.value("", "UID")?.parse().ok()?;
                let own = own.filter(|_| of == uid);
                let desktop = session.value("", "DESKTOP").filter(|name| !name.is_empty()).or(own);
                let place = Self { uid: of, desktop: desktop.unwrap_or("unnamed").to_owned() };
                (of == uid || uid == 0).then(|| (session.switch("", "ACTIVE") == Some(true), place))
            })
            .collect();
        here.sort_by_key(|(active, _)| !active);
        let listed = here.into_iter().next().map(|(_, place)| place);
        listed.or_else(|| own.map(|desktop| Self { uid, desktop: desktop.to_owned() }))
    }
}

/// GNOME and Cinnamon: locking is on and the wait is not endless, as they are until somebody changes it.
fn dconf(root: &Root, home: &str, schema: &str) -> Seen {
    let user = format!("{home}/.config/dconf/user");
    let profile = root.text(DCONF_PROFILE).unwrap_or_default();
    let shared = profile.lines().filter_map(|line| line.trim().strip_prefix("system-db:"));
    let paths: Vec<String> =
        [user].into_iter().chain(shared.map(|name| format!("/etc/dconf/db/{name}"))).collect();
    let mut databases = Vec::new();
    for path in paths.iter().filter(|path| root.has(path)) {
        match root.bytes(path) {
            Ok(bytes) if gvdb::is_database(&bytes) => databases.push(bytes),
            Ok(_) => return Seen::unknown(format!("`{path}` cannot be understood."), path.as_str()),
            Err(error) => return Seen::unreadable(path, &error),
        }
    }
    let flag = |key: String| databases.iter().find_map(|file| gvdb::flag(gvdb::value(file, &key)?));
    let number = |key: String| databases.iter().find_map(|file| gvdb::number(gvdb::value(file, &key)?));
    let locked = flag(format!("{schema}/screensaver/lock-enabled")).unwrap_or(true);
    let forbidden = flag(format!("{schema}/lockdown/disable-lock-screen")).unwrap_or(false);
    let endless = number(format!("{schema}/session/idle-delay")) == Some(0);
    Seen::flag(locked && !forbidden && !endless, paths.join(", "))
}

/// KDE Plasma: the same.
fn kde(root: &Root, home: &str) -> Seen {
    let path = format!("{home}/.config/kscreenlockerrc");
    let text = match root.text(&path) {
        Ok(text) => text,
        Err(_) if !root.has(&path) => String::new(),
        Err(error) => return Seen::unreadable(&path, &error),
    };
    let settings = Settings::parse(&text);
    let locked = settings.switch("Daemon", "Autolock").unwrap_or(true);
    let endless = settings.value("Daemon", "Timeout") == Some("0");
    Seen::flag(locked && !endless, path)
}

const SESSIONS: &str = "/run/systemd/sessions";
const DCONF_PROFILE: &str = "/etc/dconf/profile/user";

#[cfg(test)]
mod tests {
    use FactKind::ScreenLock;
    use ztna_model::FactKind;

    use super::super::tree::Tree;

    macro_rules! corpus {
        ($name:literal) => {
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/corpus/connector/", $name))
        };
    }

    const GNOME: &str = "UID=1000\nUSER=ana\nACTIVE=1\nREMOTE=0\nTYPE=wayland\nCLASS=user\nDESKTOP=gnome\n";
    const LOCK_OFF: &[u8] = corpus!("dconf-lock-off.gvdb");
    const LOCK_ON: &[u8] = corpus!("dconf-lock-on.gvdb");
    const NEVER_IDLE: &[u8] = corpus!("dconf-never-idle.gvdb");

    /// A machine with one session, in which files are as given.
    fn at(session: &str) -> Tree {
        let passwd = "ana:x:1000:1000::/home/ana:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\n";
        Tree::new()
            .file("/etc/passwd", passwd)
            .file("/run/systemd/sessions/2", session)
            .fifo("/run/systemd/sessions/2.ref")
    }

    #[test]
    fn gnome() {
        at(GNOME).shows(ScreenLock, "yes"); // by default
        at(GNOME).file("/home/ana/.config/dconf/user", LOCK_OFF).shows(ScreenLock, "no");
        at(GNOME).file("/home/ana/.config/dconf/user", NEVER_IDLE).shows(ScreenLock, "no");
        at(GNOME).file("/home/bob/.config/dconf/user", LOCK_OFF).shows(ScreenLock, "yes");
        let shared = |profile| {
            at(GNOME).file("/etc/dconf/db/local", LOCK_OFF).file("/etc/dconf/profile/user", profile)
        };
        shared("user-db:user\nsystem-db:local\n").shows(ScreenLock, "no");
        shared("user-db:user\n").shows(ScreenLock, "yes");
        at(GNOME)
            .folder("/home/ana/.config/dconf/user")
            .shows(ScreenLock, "unknown: `/home/ana/.config/dconf/user`");
        for broken in ["", "GVariant", "GVariant\0\0\0\0\0\0\0\0\u{7f}\0\0\0\u{7f}\u{7f}\0\0"] {
            let tree = at(GNOME).file("/home/ana/.config/dconf/user", broken);
            tree.shows(ScreenLock, "unknown: `/home/ana/.config/dconf/user` cannot be understood.");
        }
        // A person's own setting comes before the system's.
        let own = shared("user-db:user\nsystem-db:local\n").file("/home/ana/.config/dconf/user", LOCK_ON);
        own.shows(ScreenLock, "yes");
        // Ubuntu shares GNOME's settings, Cinnamon has its own.
        at(&GNOME.replace("gnome", "ubuntu"))
            .file("/home/ana/.config/dconf/user", LOCK_OFF)
            .shows(ScreenLock, "no");
        at(&GNOME.replace("gnome", "cinnamon"))
            .file("/home/ana/.config/dconf/user", LOCK_OFF)
            .shows(ScreenLock, "yes");
    }

    #[test]
    fn kde() {
        let kde = || at(&GNOME.replace("gnome", "KDE"));
        let file = |text: &str| kde().file("/home/ana/.config/kscreenlockerrc", text);
        kde().shows(ScreenLock, "yes");
        file("[Daemon]\nTimeout=10\n").shows(ScreenLock, "yes");
        file("[Daemon]\nAutolock=false\n").shows(ScreenLock, "no");
        file("[Daemon]\nTimeout=0\n").shows(ScreenLock, "no");
        file("[Greeter]\nAutolock=false\n").shows(ScreenLock, "yes");
    }

    #[test]
    fn who_sits_where() {
        Tree::new().shows(ScreenLock, "unsupported: Nobody sits at a screen of this machine.");
        for elsewhere in ["UID=1001", "CLASS=greeter", "TYPE=tty", "REMOTE=1"] {
            let key = elsewhere.split_once('=').map_or("", |(key, _)| key);
            let lines = GNOME.lines().filter(|line| !line.starts_with(key)).chain([elsewhere]);
            at(&lines.collect::<Vec<_>>().join("\n")).shows(ScreenLock, "unsupported: Nobody sits");
        }
        Tree::new().desktop("GNOME").shows(ScreenLock, "yes"); // no list of sessions, but a desktop around us
        Tree::new()
            .desktop("XFCE")
            .shows(ScreenLock, "unknown: The settings of the desktop `XFCE` are not read.");
        at(&GNOME.replace("DESKTOP=gnome", "")).desktop("ubuntu:GNOME").shows(ScreenLock, "yes");
        at(&GNOME.replace("DESKTOP=gnome", ""))
            .shows(ScreenLock, "unknown: The settings of the desktop `unnamed`");
        // A service that runs as root looks at the person who is there.
        at(GNOME).used_by(0).file("/home/ana/.config/dconf/user", LOCK_OFF).shows(ScreenLock, "no");
        let away = GNOME.replace("1000", "1001").replace("ACTIVE=1", "ACTIVE=0");
        let both = at(GNOME).used_by(0).file("/run/systemd/sessions/1", away);
        both.file("/home/bob/.config/dconf/user", LOCK_OFF).shows(ScreenLock, "yes");
    }
}
