use super::root::Root;
use super::seen::Seen;
use super::settings::Settings;

/// Whether somebody is logged in without being asked: by the display manager, or on a console.
///
/// Every program looked at asks unless it is told not to, so where none is told, nobody is logged in unasked.
pub(super) fn automatic(root: &Root) -> Seen {
    let manager = root.link(DISPLAY_MANAGER);
    let in_use = |program: &&Program| {
        program.name == CONSOLE || manager.as_deref().is_none_or(|manager| manager.starts_with(program.name))
    };
    for program in PROGRAMS.iter().filter(in_use) {
        for path in program.paths(root) {
            match root.text(&path) {
                Ok(text) if (program.logs_in)(&text) => return Seen::flag(true, path),
                Err(error) if root.has(&path) => return Seen::unreadable(&path, &error),
                Ok(_) | Err(_) => {}
            }
        }
    }
    match manager {
        Some(name) if !PROGRAMS.iter().any(|program| name.starts_with(program.name)) => {
            Seen::unknown(format!("The settings of `{name}` are not read."), DISPLAY_MANAGER)
        }
        Some(_) | None => Seen::flag(false, "settings of the display manager and the consoles"),
    }
}

/// A program that logs people in, where its settings are, and what says that it does so unasked.
struct Program {
    name: &'static str,
    files: &'static [&'static str],
    folders: &'static [&'static str],
    logs_in: fn(&str) -> bool,
}

impl Program {
    fn paths(&self, root: &Root) -> Vec<String> {
        let inside = |folder: &&str| {
            let names = root.names(folder).unwrap_or_default();
            let settings = names.into_iter().filter(|name| name.ends_with(".conf"));
            settings.map(|name| format!("{folder}/{name}")).collect::<Vec<_>>()
        };
        let files = self.files.iter().map(|path| (*path).to_owned());
        files.chain(self.folders.iter().flat_map(inside)).collect()
    }
}

fn gdm(text: &str) -> bool {
    let settings = Settings::parse(text);
    let on = |key| settings.switch("daemon", key) == Some(true);
    on("AutomaticLoginEnable") || on("TimedLoginEnable")
}

fn sddm(text: &str) -> bool {
    Settings::parse(text).value("Autologin", "User").is_some_and(|user| !user.is_empty())
}

fn lightdm(text: &str) -> bool {
    let users = text.lines().map(str::trim).filter_map(|line| line.strip_prefix("autologin-user"));
    users.filter_map(|rest| rest.trim_start().strip_prefix('=')).any(|user| !user.trim().is_empty())
}

fn lxdm(text: &str) -> bool {
    Settings::parse(text).value("base", "autologin").is_some_and(|user| !user.is_empty())
}

fn greetd(text: &str) -> bool {
    Settings::parse(text).value("initial_session", "command").is_some_and(|command| !command.is_empty())
}

fn getty(text: &str) -> bool {
    let starts = Settings::parse(text);
    let last = starts.value("Service", "ExecStart").unwrap_or_default();
    last.split_whitespace().any(|word| word == "-a" || word.starts_with("--autologin"))
}

const PROGRAMS: [Program; 6] = [
    Program {
        name: "gdm",
        files: &["/etc/gdm3/custom.conf", "/etc/gdm3/daemon.conf", "/etc/gdm/custom.conf"],
        folders: &[],
        logs_in: gdm,
    },
    Program {
        name: "sddm",
        files: &["/etc/sddm.conf"],
        folders: &["/usr/lib/sddm/sddm.conf.d", "/etc/sddm.conf.d"],
        logs_in: sddm,
    },
    Program {
        name: "lightdm",
        files: &["/etc/lightdm/lightdm.conf"],
        folders: &["/usr/share/lightdm/lightdm.conf.d", "/etc/lightdm/lightdm.conf.d"],
        logs_in: lightdm,
    },
    Program { name: "lxdm", files: &["/etc/lxdm/lxdm.conf"], folders: &[], logs_in: lxdm },
    Program { name: "greetd", files: &["/etc/greetd/config.toml"], folders: &[], logs_in: greetd },
    Program {
        name: CONSOLE,
        files: &[],
        folders: &[
            "/etc/systemd/system/getty@.service.d",
            "/etc/systemd/system/getty@tty1.service.d",
            "/etc/systemd/system/serial-getty@.service.d",
            "/etc/systemd/system/console-getty.service.d",
        ],
        logs_in: getty,
    },
];
const DISPLAY_MANAGER: &str = "/etc/systemd/system/display-manager.service";
const CONSOLE: &str = "getty";

#[cfg(test)]
mod tests {
    use FactKind::AutomaticLogin;
    use proptest::prelude::*;
    use ztna_model::FactKind;

    use super::super::tree::Tree;
    use super::*;

    /// A machine with one file of settings.
    fn check(path: &str, text: &str, expected: &str) {
        Tree::new().file(path, text).shows(AutomaticLogin, expected);
    }

    #[test]
    fn programs_and_their_settings() {
        let gdm = "/etc/gdm3/daemon.conf";
        check(gdm, "[daemon]\n#AutomaticLoginEnable = true\n#  AutomaticLogin = user1\n", "no");
        check(gdm, "[daemon]\nAutomaticLoginEnable = true\nAutomaticLogin = ana\n", "yes");
        check("/etc/gdm3/custom.conf", "[daemon]\nTimedLoginEnable=True\n", "yes");
        check("/etc/gdm/custom.conf", "[daemon]\nAutomaticLoginEnable=True\n", "yes");
        check("/etc/gdm/custom.conf", "[daemon]\nAutomaticLoginEnable=False\n[xdmcp]\n", "no");
        check("/etc/sddm.conf", "[Autologin]\nUser=ana\nSession=plasma\n", "yes");
        check("/etc/sddm.conf", "[Autologin]\nUser=\nSession=\n", "no");
        check("/etc/sddm.conf.d/kde_settings.conf", "[Autologin]\nRelogin=false\nUser=ana\n", "yes");
        check("/etc/lightdm/lightdm.conf", "[Seat:*]\n#autologin-user=\nautologin-user-timeout=0\n", "no");
        check("/etc/lightdm/lightdm.conf.d/50-kiosk.conf", "[Seat:*]\nautologin-user=kiosk\n", "yes");
        check("/etc/lxdm/lxdm.conf", "[base]\nautologin=ana\n", "yes");
        check("/etc/greetd/config.toml", "[initial_session]\ncommand = \"sway\"\nuser = \"ana\"\n", "yes");
        check("/etc/greetd/config.toml", "[default_session]\ncommand = \"agreety\"\n", "no");
        let getty = "/etc/systemd/system/getty@tty1.service.d/autologin.conf";
        let starts = |words| format!("[Service]\nExecStart=\nExecStart=-/sbin/agetty {words} %I $TERM\n");
        check(getty, &starts("-o '-p -f -- \\\\u' --autologin ana"), "yes");
        check(getty, &starts("-a ana"), "yes");
        check(getty, &starts("--noclear"), "no");
        Tree::new().shows(AutomaticLogin, "no");
    }

    #[test]
    fn a_program_that_is_not_known_is_not_believed_to_ask() {
        let managed = |name: &str| Tree::new().link(DISPLAY_MANAGER, &format!("/lib/systemd/system/{name}"));
        let sddm = |tree: Tree| tree.file("/etc/sddm.conf", "[Autologin]\nUser=ana\n");
        managed("gdm3.service").shows(AutomaticLogin, "no");
        managed("slim.service")
            .shows(AutomaticLogin, "unknown: The settings of `slim.service` are not read.");
        // Settings of a manager that is not the one in use say nothing; those of a console do.
        sddm(managed("sddm.service")).shows(AutomaticLogin, "yes");
        sddm(managed("gdm.service")).shows(AutomaticLogin, "no");
        sddm(managed("slim.service")).shows(AutomaticLogin, "unknown: The settings of");
        let getty = "/etc/systemd/system/getty@tty1.service.d/autologin.conf";
        managed("slim.service")
            .file(getty, "[Service]\nExecStart=agetty -a ana\n")
            .shows(AutomaticLogin, "yes");
    }

    #[test]
    fn settings_that_cannot_be_read_are_no_settings_that_ask() {
        let tree = Tree::new().folder("/etc/sddm.conf");
        tree.shows(AutomaticLogin, "unknown: `/etc/sddm.conf` cannot be read.");
    }

    proptest! {
        #[test]
        fn any_settings_are_read(text in "(\\PC|\n|=|\\[|\\]|User|autologin|ExecStart){0,40}") {
            for program in PROGRAMS {
                (program.logs_in)(&text);
            }
        }
    }
}
