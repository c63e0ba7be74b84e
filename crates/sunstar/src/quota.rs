//! How much processor time the control groups of this process grant it (cgroups(7)).
//!
//! Linux's cgroup v2 has it in `cpu.max`, v1 in `cpu.cfs_quota_us` and `cpu.cfs_period_us`. A group's quota is shared
//! with all groups below, so the tightest of the process's own group and its ancestors rules. A container sees its
//! own group, and nothing above, as the root of the mount.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Thousandths of a core.
pub(crate) type MilliCores = u64;

/// What a core is.
pub(crate) const WHOLE: MilliCores = 1_000;

/// The quota of this process; `None` when nothing limits it, or nothing can be read of what does.
pub(crate) fn of_process() -> Option<MilliCores> {
    // Another mount's name that is no text does not matter here.
    let read = |path: &Path| Some(String::from_utf8_lossy(&fs::read(path).ok()?).into_owned());
    let mounts = read(Path::new("/proc/self/mountinfo"))?;
    let groups = read(Path::new("/proc/self/cgroup"))?;
    tightest(&mounts, &groups, read)
}

/// The tightest quota of all groups that a process is in.
fn tightest(mounts: &str, groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<MilliCores> {
    let mounts = mounts.lines().filter_map(Mount::parse);
    let granted = mounts.flat_map(|mount| {
        let groups = mount.directories(groups);
        groups.into_iter().filter_map(|group| mount.version.granted(&group, &read)).min()
    });
    granted.min()
}

/// How a hierarchy is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// With a hierarchy for each controller; this is that of `cpu`.
    V1,
    /// With one for all.
    V2,
}

impl Version {
    /// What the group in this directory may use.
    fn granted(self, group: &Path, read: &impl Fn(&Path) -> Option<String>) -> Option<MilliCores> {
        let (quota, period) = match self {
            Version::V1 => (read(&group.join("cpu.cfs_quota_us"))?, read(&group.join("cpu.cfs_period_us"))?),
            Version::V2 => {
                let limit = read(&group.join("cpu.max"))?;
                let (quota, period) = limit.trim().split_once(' ')?;
                (quota.to_owned(), period.to_owned())
            }
        };
        // No limit is `max` in v2, and -1 in v1: neither is a number of microseconds.
        let quota: u64 = quota.trim().parse().ok()?;
        let period: u64 = period.trim().parse().ok()?;
        quota.checked_mul(WHOLE)?.checked_div(period)
    }
}

/// A mounted hierarchy, or a part of one.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    version: Version,
    /// The group that is seen at `point`.
    root: PathBuf,
    point: PathBuf,
}

impl Mount {
    /// From a line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)); `None` for all other file systems.
    fn parse(line: &str) -> Option<Self> {
        let (place, file_system) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        let mut file_system = file_system.split(' ');
        let version = match (file_system.next()?, file_system.nth(1)?) {
            ("cgroup2", _) => Version::V2,
            ("cgroup", options) if options.split(',').any(|option| option == "cpu") => Version::V1,
            _ => return None,
        };
        Some(Self { version, root: unescaped(root), point: unescaped(point) })
    }

    /// Where the process's group of this hierarchy is found, and all its ancestors that are to be seen. Its path comes
    /// from the text of `/proc/self/cgroup`, and is of use only if it leads to something below the mount.
    fn directories(&self, groups: &str) -> Vec<PathBuf> {
        let own = groups.lines().find_map(|line| {
            let (_, group) = line.split_once(':')?;
            let (controllers, path) = group.split_once(':')?;
            let is_it = match self.version {
                Version::V1 => controllers.split(',').any(|controller| controller == "cpu"),
                Version::V2 => controllers.is_empty(),
            };
            is_it.then_some(Path::new(path))
        });
        let Some(below) = own.and_then(|own| own.strip_prefix(&self.root).ok()) else { return Vec::new() };
        // A path of a group beside the namespace's own begins with `..`, and would lead out of the mount.
        if below.components().any(|component| component == Component::ParentDir) {
            return Vec::new();
        }
        below.ancestors().map(|group| self.point.join(group)).collect()
    }
}

/// A path as it is, of one whose blanks and backslashes are written as octal numbers.
fn unescaped(path: &str) -> PathBuf {
    let mut parts = path.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let number = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match number.zip(part.get(3..)) {
            Some((byte, rest)) => {
                plain.push(byte.into());
                plain.push_str(rest);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The quota of a process with these texts, where these files are.
    fn granted(mounts: &str, groups: &str, files: &[(&str, &str)]) -> Option<MilliCores> {
        let read = |path: &Path| {
            let file = files.iter().find(|(name, _)| Path::new(name) == path);
            file.map(|(_, text)| (*text).to_owned())
        };
        tightest(mounts, groups, read)
    }

    /// Debian 12 with systemd.
    const UNIFIED: &str = "\
24 30 0:22 / /proc rw,nosuid,nodev,noexec,relatime shared:13 - proc proc rw
30 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
33 23 0:28 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
34 23 0:29 / /sys/fs/pstore rw,nosuid,nodev,noexec,relatime shared:10 - pstore pstore rw
";

    #[test]
    fn a_service_has_the_quota_of_its_unit() {
        let groups = "0::/system.slice/sunstar.service\n";
        let files = [
            ("/sys/fs/cgroup/system.slice/cpu.max", "max 100000\n"),
            ("/sys/fs/cgroup/system.slice/sunstar.service/cpu.max", "150000 100000\n"),
        ];
        assert_eq!(granted(UNIFIED, groups, &files), Some(1_500));
    }

    #[test]
    fn an_ancestor_with_a_tighter_quota_rules() {
        let groups = "0::/kubepods.slice/kubepods-pod1.slice/cri-1.scope\n";
        let files = [
            ("/sys/fs/cgroup/kubepods.slice/cpu.max", "3200000 100000\n"),
            ("/sys/fs/cgroup/kubepods.slice/kubepods-pod1.slice/cpu.max", "100000 50000\n"),
            ("/sys/fs/cgroup/kubepods.slice/kubepods-pod1.slice/cri-1.scope/cpu.max", "400000 100000\n"),
        ];
        assert_eq!(granted(UNIFIED, groups, &files), Some(2_000));
    }

    #[test]
    fn a_session_without_limits_has_no_quota() {
        let groups = "0::/user.slice/user-0.slice/session-3.scope\n";
        let files = [("/sys/fs/cgroup/user.slice/cpu.max", "max 100000\n")];
        assert_eq!(granted(UNIFIED, groups, &files), None);
        assert_eq!(granted(UNIFIED, groups, &[]), None, "the root has no cpu.max at all");
    }

    #[test]
    fn a_container_with_a_namespace_of_its_own_finds_its_quota_at_the_root() {
        let mounts = "\
612 611 0:28 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate,memory_recursiveprot
";
        let files = [("/sys/fs/cgroup/cpu.max", "50000 100000\n")];
        assert_eq!(granted(mounts, "0::/\n", &files), Some(500));
        assert_eq!(granted(mounts, "0::/../neighbour\n", &files), None, "that group is not to be seen");
    }

    /// Docker with cgroup v1: the files are at the mount's root, and the path is the machine's.
    #[test]
    fn a_container_that_shares_the_namespace_finds_its_quota_at_the_root_too() {
        let mounts = "\
1203 1202 0:30 /docker/5b1f /sys/fs/cgroup/systemd ro,nosuid,nodev,noexec,relatime master:11 - cgroup cgroup rw,xattr,name=systemd
1206 1202 0:33 /docker/5b1f /sys/fs/cgroup/cpu,cpuacct ro,nosuid,nodev,noexec,relatime master:15 - cgroup cgroup rw,cpu,cpuacct
1207 1202 0:34 /docker/5b1f /sys/fs/cgroup/cpuset ro,nosuid,nodev,noexec,relatime master:16 - cgroup cgroup rw,cpuset
";
        let groups = "\
12:cpuset:/docker/5b1f
4:cpu,cpuacct:/docker/5b1f
1:name=systemd:/docker/5b1f
0::/system.slice/containerd.service
";
        let files = [
            ("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "250000\n"),
            ("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(granted(mounts, groups, &files), Some(2_500));
        let none = [files[1], ("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n")];
        assert_eq!(granted(mounts, groups, &none), None);
        let elsewhere = groups.replace("5b1f", "77aa");
        assert_eq!(granted(mounts, &elsewhere, &files), None, "what is mounted is another's group");
    }

    /// systemd's hybrid layout: the processor is limited in v1 although there is a v2 hierarchy.
    #[test]
    fn the_old_hierarchy_counts_beside_a_new_one_without_controllers() {
        let mounts = "\
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
        let groups = "2:cpuacct:/\n1:cpu:/batch/job\n0::/\n";
        let files = [
            ("/sys/fs/cgroup/cpu/batch/cpu.cfs_quota_us", "200000\n"),
            ("/sys/fs/cgroup/cpu/batch/cpu.cfs_period_us", "100000\n"),
            ("/sys/fs/cgroup/cpu/batch/job/cpu.cfs_quota_us", "-1\n"),
            ("/sys/fs/cgroup/cpu/batch/job/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(granted(mounts, groups, &files), Some(2_000));
    }

    #[test]
    fn a_mount_point_with_a_blank_is_found() {
        let mounts = "41 31 0:38 / /a\\040b rw - cgroup2 none rw\n";
        assert_eq!(granted(mounts, "0::/\n", &[("/a b/cpu.max", "100000 100000\n")]), Some(1_000));
    }

    #[test]
    fn texts_of_another_form_are_no_quota() {
        for text in ["", "max", "100000", "a b", "100000 0", "18446744073709551615 1", "-1 100000"] {
            assert_eq!(granted(UNIFIED, "0::/a\n", &[("/sys/fs/cgroup/a/cpu.max", text)]), None, "{text}");
        }
        for (mounts, groups) in [("", ""), ("a - b", "c"), (UNIFIED, "0:/\n"), ("1 2 3 - cgroup2 x", "0::/a")]
        {
            assert_eq!(granted(mounts, groups, &[]), None);
        }
    }
}
