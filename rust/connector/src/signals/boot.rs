use super::root::Root;
use super::seen::Seen;

/// Whether the firmware starts signed code only (UEFI 2.10, 32.4; shim's own switch counts too).
pub(super) fn secure(root: &Root) -> Seen {
    if !root.has(EFI) {
        return match root.container() {
            Some(mark) => Seen::unknown("A container does not see how its machine was started.", mark),
            None => Seen::unsupported("This machine was not started by UEFI firmware.", EFI),
        };
    }
    let on = match root.bytes(SECURE_BOOT) {
        Ok(bytes) => switch(&bytes),
        Err(error) => return Seen::unreadable(SECURE_BOOT, &error),
    };
    let Some(on) = on else {
        return Seen::unknown("The firmware's setting could not be understood.", SECURE_BOOT);
    };
    // In set-up mode anybody may change the keys, and shim can be told to check nothing.
    let undone = [SETUP_MODE, SHIM_CHECKS_NOTHING]
        .into_iter()
        .find(|path| root.bytes(path).is_ok_and(|bytes| switch(&bytes) == Some(true)));
    Seen::flag(on && undone.is_none(), undone.unwrap_or(SECURE_BOOT))
}

/// Whether there is a TPM of version 2.
pub(super) fn tpm(root: &Root) -> Seen {
    let Ok(chips) = root.names(TPM) else {
        return Seen::unknown("This kernel does not show security chips.", TPM);
    };
    let versions: Vec<String> = chips.iter().map(|chip| format!("{TPM}/{chip}/tpm_version_major")).collect();
    let version = |path: &String| root.text(path).map(|text| text.trim().to_owned());
    if let Some(path) = versions.iter().find(|path| version(path).is_ok_and(|version| version == "2")) {
        return Seen::flag(true, path.as_str());
    }
    match versions.iter().find_map(|path| version(path).err().map(|error| (path, error))) {
        Some((path, error)) => Seen::unreadable(path, &error), // a kernel before 5.6
        None => Seen::flag(false, TPM),
    }
}

/// A variable of the firmware: four bytes of attributes, then the value.
const fn switch(variable: &[u8]) -> Option<bool> {
    match variable {
        [_, _, _, _, 0] => Some(false),
        [_, _, _, _, 1] => Some(true),
        _ => None,
    }
}

const EFI: &str = "/sys/firmware/efi";
const SECURE_BOOT: &str = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
const SETUP_MODE: &str = "/sys/firmware/efi/efivars/SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c";
const SHIM_CHECKS_NOTHING: &str =
    "/sys/firmware/efi/efivars/MokSBStateRT-605dab50-e046-4300-abb6-3dd810dd8b23";
const TPM: &str = "/sys/class/tpm";

#[cfg(test)]
mod tests {
    use FactKind::{SecureBoot, Tpm};
    use ztna_model::FactKind;

    use super::super::tree::Tree;
    use super::*;

    const ON: [u8; 5] = [6, 0, 0, 0, 1];
    const OFF: [u8; 5] = [6, 0, 0, 0, 0];

    #[test]
    fn firmware() {
        let uefi = |bytes: &[u8]| Tree::new().file(SECURE_BOOT, bytes);
        uefi(&ON).shows(SecureBoot, "yes");
        uefi(&OFF).shows(SecureBoot, "no");
        uefi(&ON).file(SETUP_MODE, OFF).file(SHIM_CHECKS_NOTHING, OFF).shows(SecureBoot, "yes");
        uefi(&ON).file(SETUP_MODE, ON).shows(SecureBoot, "no");
        uefi(&ON).file(SHIM_CHECKS_NOTHING, ON).shows(SecureBoot, "no");
        for broken in [&[] as &[u8], &[6, 0, 0, 0], &[6, 0, 0, 0, 2], &[6, 0, 0, 0, 1, 1]] {
            uefi(broken).shows(SecureBoot, "unknown: The firmware's setting could not be understood.");
        }
        Tree::new()
            .folder("/sys/firmware/efi/efivars")
            .shows(SecureBoot, "unknown: There is no `/sys/firmware");
        Tree::new()
            .folder("/sys/firmware")
            .shows(SecureBoot, "unsupported: This machine was not started by UEFI");
        for mark in ["/.dockerenv", "/run/.containerenv", "/run/systemd/container"] {
            Tree::new().file(mark, "").shows(SecureBoot, "unknown: A container does not see");
        }
    }

    #[test]
    fn chips() {
        let chip = |version| Tree::new().file("/sys/class/tpm/tpm0/tpm_version_major", version);
        chip("2\n").shows(Tpm, "yes");
        chip("1\n").shows(Tpm, "no");
        chip("1\n").file("/sys/class/tpm/tpm1/tpm_version_major", "2\n").shows(Tpm, "yes");
        Tree::new().folder("/sys/class/tpm").shows(Tpm, "no");
        Tree::new()
            .folder("/sys/class/tpm/tpm0")
            .shows(Tpm, "unknown: There is no `/sys/class/tpm/tpm0/tpm_version");
        Tree::new().shows(Tpm, "unknown: This kernel does not show security chips.");
    }
}
