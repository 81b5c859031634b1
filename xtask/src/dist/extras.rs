//! Papers that go with a binary: manual pages, completions, licence texts of all that is linked, and the bill of materials.

use super::build::{Build, commit_time};
use super::targets::Target;
use crate::setup::cargo_tools::{ABOUT, CYCLONEDX};
use crate::shell::{Workspace, run};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The licence texts, in archives and packages.
pub(crate) const LICENCES: &str = "LICENSES-LINKED.txt";

/// The bill of materials, as CycloneDX JSON.
pub(crate) fn materials_of(build: Build) -> String {
    format!("{}.cdx.json", build.program())
}

/// Folders that only have what is built, or is none of ours.
const NO_SOURCES: [&str; 4] = ["target", "dist", "node_modules", ".git"];

/// Writes all of them into `folder`, for a build of a target.
pub(super) fn write(
    workspace: &Workspace,
    target: &Target,
    build: Build,
    folder: &Path,
) -> Result<()> {
    pages(workspace, build, folder)?;
    licences(workspace, target, build, &folder.join(LICENCES))?;
    materials(workspace, target, build, &folder.join(materials_of(build)))
}

/// `man/*.1` and `completions/*`, written by a program of this machine with the commands of the build.
fn pages(workspace: &Workspace, build: Build, folder: &Path) -> Result<()> {
    let example = ["run", "--quiet", "--locked", "--package", build.program()];
    // Without its demo the agent still has the command, which says how to get it: a desk's build is there already.
    let build = match build {
        Build::Full => Build::Default,
        other => other,
    };
    run(workspace
        .cargo(&example)
        .args(build.features())
        .args(["--example=pages", "--"])
        .arg(folder))
}

fn licences(workspace: &Workspace, target: &Target, build: Build, file: &Path) -> Result<()> {
    let mut about = Command::new(ABOUT.ensure()?);
    about
        .current_dir(&workspace.root)
        .args(["generate", "--fail", "--locked", "--target", target.name])
        .args(["--manifest-path", &manifest(build)])
        .args(["--config", "about.toml"])
        .args(build.features())
        .arg("--output-file")
        .arg(file)
        .arg("packaging/licences.hbs");
    run(&mut about)?;
    let bytes = fs::metadata(file).map_or(0, |file| file.len());
    if bytes == 0 {
        bail!("cargo-about found no licence text");
    }
    Ok(())
}

/// Lets cargo-cyclonedx write; it puts a file beside the manifest of each member of the workspace, of which the program's is kept.
fn materials(workspace: &Workspace, target: &Target, build: Build, file: &Path) -> Result<()> {
    let name = format!("xtask-{}", std::process::id());
    let mut cyclonedx = Command::new(CYCLONEDX.ensure()?);
    cyclonedx
        .current_dir(&workspace.root)
        .args([
            "cyclonedx",
            "--quiet",
            "--format=json",
            "--spec-version=1.5",
        ])
        .args(["--manifest-path", &manifest(build), "--no-build-deps"])
        .args(["--target", target.name, "--override-filename", &name])
        .args(build.features())
        .env("SOURCE_DATE_EPOCH", commit_time(workspace)?);
    let written = run(&mut cyclonedx);
    let name = format!("{name}.json");
    let text = fs::read_to_string(workspace.root.join(build.folder()).join(&name));
    for left in found(&workspace.root, &name) {
        fs::remove_file(&left).with_context(|| format!("cannot remove {}", left.display()))?;
    }
    written?;
    let text =
        text.with_context(|| format!("cargo-cyclonedx wrote nothing for {}", build.program()))?;
    // The same in every folder.
    let text = text.replace(&workspace.root.display().to_string(), "/tidemill");
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn manifest(build: Build) -> String {
    format!("{}/Cargo.toml", build.folder())
}

/// The files of this name below `folder`.
fn found(folder: &Path, name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| {
            let path = entry.path();
            let own = entry.file_name();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && !NO_SOURCES.iter().any(|other| own == *other) {
                return found(&path, name);
            }
            if own == name { vec![path] } else { Vec::new() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The quoted words of a list in a file of the workspace.
    fn listed(file: &str, list: &str) -> BTreeSet<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let text = fs::read_to_string(root.join(file)).unwrap();
        let (_, rest) = text.split_once(&format!("\n{list} = [\n")).unwrap();
        let (inside, _) = rest.split_once("\n]").unwrap();
        let words = inside.split('"').skip(1).step_by(2);
        words.map(str::to_owned).collect()
    }

    #[test]
    fn licences_that_may_enter_are_those_that_texts_are_gathered_for() {
        let allowed = listed("deny.toml", "allow");
        assert!(allowed.contains("MIT") && allowed.len() > 5);
        assert_eq!(listed("about.toml", "accepted"), allowed);
    }

    #[test]
    fn only_files_of_the_name_are_found_and_none_in_what_is_built() {
        let folder = std::env::temp_dir().join(format!("tidemill-found-{}", std::process::id()));
        for name in ["a/x.json", "target/x.json", "a/y.json", "x.json"] {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let mut names = found(&folder, "x.json");
        names.sort();
        assert_eq!(names, [folder.join("a/x.json"), folder.join("x.json")]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
