//! Which command installs something here, and what keeps this machine from a capability?
//!
//! Advice is one command that a person can type, for the distribution that `os-release(5)` names.

use std::path::Path;

/// How packages are installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Debian,
    Fedora,
    Arch,
    Suse,
    Alpine,
    Nix,
    Unknown,
}

impl Family {
    fn here() -> Self {
        let text = std::fs::read_to_string("/etc/os-release")
            .or_else(|_| std::fs::read_to_string("/usr/lib/os-release"));
        Self::of(&text.unwrap_or_default())
    }

    /// By `ID`, else by `ID_LIKE`.
    fn of(os_release: &str) -> Self {
        let value = |key: &str| {
            let mut lines = os_release.lines();
            let line = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default()
                .trim_matches(['"', '\''])
                .to_owned()
        };
        let names = format!("{} {}", value("ID"), value("ID_LIKE"));
        let known = names.split_whitespace().find_map(|name| {
            Some(match name {
                "debian" | "ubuntu" => Self::Debian,
                "fedora" | "rhel" | "centos" => Self::Fedora,
                "arch" => Self::Arch,
                "suse" | "opensuse" | "opensuse-tumbleweed" | "opensuse-leap" => Self::Suse,
                "alpine" => Self::Alpine,
                "nixos" => Self::Nix,
                _ => return None,
            })
        });
        known.unwrap_or(Self::Unknown)
    }

    /// The command that installs `thing`.
    fn install(self, thing: Thing) -> String {
        let (command, c, python) = match self {
            Self::Debian => ("sudo apt install", "gcc", "python3-venv"),
            Self::Fedora => ("sudo dnf install", "gcc", "python3"),
            Self::Arch => ("sudo pacman -S", "gcc", "python"),
            Self::Suse => ("sudo zypper install", "gcc", "python3"),
            Self::Alpine => ("sudo apk add", "gcc musl-dev", "python3"),
            Self::Nix => ("nix-shell -p", "gcc", "python3"),
            Self::Unknown => (
                "with your package manager: install",
                "gcc or clang",
                "Python 3.9 or newer with its venv module",
            ),
        };
        let package = match thing {
            Thing::C => c,
            Thing::Git => "git",
            Thing::Python => python,
        };
        format!("{command} {package}")
    }
}

/// What may have to be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thing {
    C,
    Git,
    Python,
}

/// The command that installs `thing` on this machine.
pub(crate) fn install(thing: Thing) -> String {
    Family::here().install(thing)
}

/// A setting of the kernel's, by its path below `/proc/sys`.
pub(crate) fn setting(path: &str) -> Option<i64> {
    let text = std::fs::read_to_string(Path::new("/proc/sys").join(path)).ok()?;
    text.trim().parse().ok()
}

/// True in Docker, Podman and their like.
fn in_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"]
        .iter()
        .any(|path| Path::new(path).exists())
}

/// `sudo sysctl NAME=VALUE`, and how it stays.
fn sysctl(name: &str, value: u32) -> String {
    format!(
        "sudo sysctl {name}={value}  (for good: a line `{name} = {value}` in /etc/sysctl.d/90-syslab.conf)"
    )
}

/// What allows user, network and other namespaces here.
pub(crate) fn allow_namespaces() -> String {
    if setting("kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
        return sysctl("kernel.apparmor_restrict_unprivileged_userns", 0);
    }
    if setting("kernel/unprivileged_userns_clone") == Some(0) {
        return sysctl("kernel.unprivileged_userns_clone", 1);
    }
    for kind in ["user", "net"] {
        if setting(&format!("user/max_{kind}_namespaces")) == Some(0) {
            return sysctl(&format!("user.max_{kind}_namespaces"), 10_000);
        }
    }
    container("--security-opt seccomp=unconfined --security-opt apparmor=unconfined")
        .unwrap_or_else(|| {
            "a seccomp filter or security module denies it; ask who set it up".into()
        })
}

/// What allows ptrace(2) of one's own children.
pub(crate) fn allow_ptrace() -> String {
    match setting("kernel/yama/ptrace_scope") {
        Some(2) => sysctl("kernel.yama.ptrace_scope", 1),
        Some(3) => {
            "kernel.yama.ptrace_scope is 3 until the next boot: look for it in /etc/sysctl.d".into()
        }
        _ => container("--cap-add=SYS_PTRACE")
            .unwrap_or_else(|| "a seccomp filter denies it; ask who set it up".into()),
    }
}

/// What allows io_uring.
pub(crate) fn allow_io_uring() -> String {
    match setting("kernel/io_uring_disabled") {
        Some(1 | 2) => sysctl("kernel.io_uring_disabled", 0),
        _ => container("--security-opt seccomp=unconfined")
            .unwrap_or_else(|| "Linux 5.6 or newer, built with CONFIG_IO_URING".into()),
    }
}

/// What allows userfaultfd(2).
pub(crate) fn allow_userfaultfd() -> String {
    match setting("vm/unprivileged_userfaultfd") {
        Some(0) => sysctl("vm.unprivileged_userfaultfd", 1),
        _ => "Linux 5.11 or newer, built with CONFIG_USERFAULTFD".into(),
    }
}

/// What allows Landlock.
pub(crate) fn allow_landlock() -> String {
    let modules = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    if modules.is_empty() || modules.contains("landlock") {
        return "Linux 5.13 or newer, built with CONFIG_SECURITY_LANDLOCK".into();
    }
    format!(
        "boot with the kernel parameter lsm=landlock,{}",
        modules.trim()
    )
}

/// What gives access to a device.
pub(crate) fn allow_device(path: &str, module: &str, group: &str) -> String {
    if Path::new(path).exists() {
        return format!("sudo usermod -aG {group} $USER  (then log in again)");
    }
    if let Some(advice) = container(&format!("--device {path}")) {
        return advice;
    }
    match module {
        "kvm" => "turn on virtualisation (VT-x, AMD-V) in the firmware; in a virtual machine, nested virtualisation".into(),
        _ => format!("sudo modprobe {module}"),
    }
}

fn container(flags: &str) -> Option<String> {
    in_container().then(|| format!("start the container with {flags}"))
}

#[cfg(test)]
mod tests {
    use super::{Family, Thing};

    #[test]
    fn the_command_is_the_distributions() {
        let debian = "PRETTY_NAME=\"Debian\"\nID=debian\n";
        let mint = "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n";
        let rocky = "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n";
        let other = "ID=plan9\n";
        for (text, words) in [
            (debian, "sudo apt install python3-venv"),
            (mint, "sudo apt install python3-venv"),
            (rocky, "sudo dnf install python3"),
            (other, "package manager: install Python 3.9"),
        ] {
            let command = Family::of(text).install(Thing::Python);
            assert!(command.contains(words), "{command}");
        }
        assert_eq!(
            Family::of("").install(Thing::Git),
            Family::Unknown.install(Thing::Git)
        );
    }
}
