//! Whether the kernel may write this process's memory to swap space.

use std::fs;
use std::path::{Path, PathBuf};

/// Why pages of this process may be in swap space; `None` if they cannot.
pub(crate) fn possible() -> Option<String> {
    System { proc: Path::new("/proc"), cgroups: Path::new("/sys/fs/cgroup") }.possible()
}

/// Where the kernel tells.
struct System<'a> {
    proc: &'a Path,
    cgroups: &'a Path,
}

impl System<'_> {
    fn possible(&self) -> Option<String> {
        let listed = match fs::read_to_string(self.proc.join("swaps")) {
            Ok(listed) => listed,
            Err(error) => return Some(format!("/proc/swaps cannot be read: {error}")),
        };
        // The first line names the columns.
        let first = listed.lines().nth(1)?.split_whitespace().next().unwrap_or_default();
        match self.is_forbidden() {
            true => None,
            false => Some(format!("/proc/swaps lists {first}, and memory.swap.max is not 0")),
        }
    }

    /// Whether the control group of this process, or one above it, forbids swap space.
    fn is_forbidden(&self) -> bool {
        let Some(group) = self.group() else { return false };
        let mut groups = group.ancestors().take_while(|group| group.starts_with(self.cgroups));
        groups.any(|group| {
            let most = fs::read_to_string(group.join("memory.swap.max"));
            most.is_ok_and(|most| most.trim() == "0")
        })
    }

    /// The control group (version 2) of this process.
    fn group(&self) -> Option<PathBuf> {
        let own = fs::read_to_string(self.proc.join("self/cgroup")).ok()?;
        let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        Some(self.cgroups.join(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Filename\tType\tSize\tUsed\tPriority\n";

    /// A system with these swap spaces, whose process is in the group `a/b`.
    fn system(directory: &Path, swaps: &str, most: &[(&str, &str)]) -> Option<String> {
        let (proc, cgroups) = (directory.join("proc"), directory.join("cgroup"));
        fs::create_dir_all(proc.join("self")).unwrap();
        fs::write(proc.join("swaps"), format!("{HEADER}{swaps}")).unwrap();
        fs::write(proc.join("self/cgroup"), "1:name=x:/z\n0::/a/b\n").unwrap();
        fs::create_dir_all(cgroups.join("a/b")).unwrap();
        for (group, most) in most {
            fs::write(cgroups.join(group).join("memory.swap.max"), most).unwrap();
        }
        System { proc: &proc, cgroups: &cgroups }.possible()
    }

    const SPACE: &str = "/dev/zram0 partition 1000 0 100\n";

    #[test]
    fn without_swap_space_nothing_is_swapped() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(system(directory.path(), "", &[]), None);
    }

    #[test]
    fn swap_space_is_named_unless_a_group_forbids_it() {
        for (most, forbidden) in [
            (&[][..], false),
            (&[("a/b", "max\n"), ("a", "max\n")], false),
            (&[("a/b", "0\n")], true),
            (&[("a/b", "max\n"), ("a", "0\n")], true),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let possible = system(directory.path(), SPACE, most);
            assert_eq!(possible.is_none(), forbidden, "{most:?}");
            assert!(possible.is_none_or(|why| why.contains("/dev/zram0")));
        }
    }

    #[test]
    fn what_cannot_be_read_counts_as_possible() {
        let nowhere = Path::new("/nowhere");
        let possible = System { proc: nowhere, cgroups: nowhere }.possible();
        assert!(possible.unwrap().contains("cannot be read"));
    }
}
