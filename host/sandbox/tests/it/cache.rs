//! Compiled code on disk.

use std::fs;
use std::path::PathBuf;

use dacapo_sandbox::{PrepareError, Sandbox, SandboxConfig};

use crate::support::{Run, config, output, probe};

struct Cached {
    dir: tempfile::TempDir,
}

impl Cached {
    fn new() -> Cached {
        Cached {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// As after a restart of the process.
    fn sandbox(&self) -> Sandbox {
        let cache_dir = Some(self.dir.path().to_owned());
        Sandbox::new(SandboxConfig {
            cache_dir,
            instances_max: 2,
            ..config()
        })
        .unwrap()
    }

    /// Those of compiled code.
    fn files(&self) -> Vec<PathBuf> {
        let kinds = fs::read_dir(self.dir.path()).unwrap();
        kinds
            .flat_map(|kind| fs::read_dir(kind.unwrap().path()).unwrap())
            .map(|file| file.unwrap().path())
            .filter(|file| file.extension().is_none_or(|extension| extension != "wasm"))
            .collect()
    }
}

#[tokio::test]
async fn a_second_start_finds_the_compiled_code() {
    let cached = Cached::new();
    let digest = &probe().described.digest;
    assert!(cached.sandbox().prepare_cached(digest).unwrap().is_none());
    cached
        .sandbox()
        .prepare(digest, &probe().described.component)
        .unwrap();
    assert_eq!(cached.files().len(), 1);

    let second = cached.sandbox();
    let prepared = second
        .prepare_cached(digest)
        .unwrap()
        .expect("it is in the cache");
    assert_eq!(prepared.digest(), digest);
    let run = Run::new("durable.counted-steps", "2");
    assert_eq!(output(run.go_in(&second, probe(), &prepared).await), "3");
}

#[tokio::test]
async fn damaged_compiled_code_is_compiled_anew() {
    let cached = Cached::new();
    let digest = &probe().described.digest;
    cached
        .sandbox()
        .prepare(digest, &probe().described.component)
        .unwrap();
    let file = cached.files().remove(0);
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for damaged in [&flipped[..], &whole[..whole.len() / 2], &whole[..10], &[]] {
        fs::write(&file, damaged).unwrap();
        let sandbox = cached.sandbox();
        assert!(sandbox.prepare_cached(digest).unwrap().is_none());
        let prepared = sandbox
            .prepare(digest, &probe().described.component)
            .unwrap();
        let run = Run::new("durable.counted-steps", "2");
        assert_eq!(output(run.go_in(&sandbox, probe(), &prepared).await), "3");
        assert_eq!(
            fs::read(&file).unwrap().len(),
            whole.len(),
            "it was written anew"
        );
    }
}

#[test]
fn those_who_share_a_directory_compile_once_in_all() {
    let cached = Cached::new();
    let sandboxes: Vec<Sandbox> = (0..4).map(|_| cached.sandbox()).collect();
    let start = std::sync::Barrier::new(sandboxes.len());
    let compiled = std::thread::scope(|scope| {
        let preparing: Vec<_> = sandboxes
            .iter()
            .map(|sandbox| {
                scope.spawn(|| {
                    start.wait();
                    let described = &probe().described;
                    let prepared = sandbox.prepare(&described.digest, &described.component);
                    prepared.unwrap().was_compiled()
                })
            })
            .collect();
        let compiled = preparing.into_iter().map(|it| it.join().unwrap());
        compiled.filter(|compiled| *compiled).count()
    });
    assert_eq!(compiled, 1);
    assert_eq!(
        cached.files().len(),
        1,
        "no lock is left: {:?}",
        cached.files()
    );
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_or_goes_away_costs_time_and_nothing_else() {
    let cached = Cached::new();
    let (file, gone) = (
        cached.dir.path().join("file"),
        cached.dir.path().join("gone"),
    );
    fs::write(&file, "no directory").unwrap();
    for dir in [file.join("below"), gone.clone()] {
        let sandbox = Sandbox::new(SandboxConfig {
            cache_dir: Some(dir),
            instances_max: 2,
            ..config()
        })
        .unwrap();
        if gone.exists() {
            // Nothing can be read or written there any more, whoever this is.
            fs::remove_dir_all(&gone).unwrap();
            fs::write(&gone, "no directory").unwrap();
        }
        let described = &probe().described;
        let digest = &described.digest;
        assert!(sandbox.prepare_cached(digest).unwrap().is_none());
        let prepared = sandbox.prepare(digest, &described.component).unwrap();
        let run = Run::new("durable.counted-steps", "2");
        assert_eq!(output(run.go_in(&sandbox, probe(), &prepared).await), "3");
    }
}

#[test]
fn bytes_that_are_not_the_digests_are_refused() {
    let cached = Cached::new();
    let error = cached
        .sandbox()
        .prepare(&"0".repeat(64), &probe().described.component)
        .unwrap_err();
    assert!(matches!(error, PrepareError::Damaged { .. }), "{error}");
}

#[test]
fn the_cache_belongs_to_its_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let cached = Cached::new();
    cached
        .sandbox()
        .prepare(&probe().described.digest, &probe().described.component)
        .unwrap();
    let file = cached.files().remove(0);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
}

#[tokio::test]
async fn the_default_limits_hold_a_thousand_places() {
    let sandbox = Sandbox::new(SandboxConfig::default()).unwrap();
    let prepared = sandbox
        .prepare(&probe().described.digest, &probe().described.component)
        .unwrap();
    let run = Run::new("durable.counted-steps", "2");
    assert_eq!(output(run.go_in(&sandbox, probe(), &prepared).await), "3");
}
