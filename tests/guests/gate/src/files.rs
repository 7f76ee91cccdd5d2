//! Files, as the standard library has them and as WASI does.

use std::cell::RefCell;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::time::{Duration, UNIX_EPOCH};

use dacapo_guest::{Fatal, Retry, step};
use wasip2::filesystem::preopens;
use wasip2::filesystem::types::{
    Descriptor, DescriptorFlags, ErrorCode, NewTimestamp, OpenFlags, PathFlags,
};
use wasip2::io::streams::StreamError;

use crate::Gate;
use crate::bindings::exports::test::gate::files::{Guest, Keep};

impl Guest for Gate {
    fn script(steps: Vec<Vec<String>>) -> Result<Vec<Vec<String>>, String> {
        let run = |commands: &Vec<String>| {
            let said: Vec<String> = step("script").attempts(1).run(|| Ok(run(commands)))?;
            Ok(said)
        };
        steps.iter().map(run).collect()
    }

    fn script_outside(commands: Vec<String>) -> Vec<String> {
        run(&commands)
    }

    fn script_twice(commands: Vec<String>) -> Result<Vec<String>, String> {
        let quick = Duration::from_millis(1);
        let said = step("script")
            .attempts(2)
            .backoff(quick, 1.0, quick)
            .run_with(|attempt| {
                let said = run(&commands);
                if attempt == 1 {
                    Err(Retry(said.join(", ")))?;
                }
                Ok(said)
            })?;
        Ok(said)
    }

    fn keeps(keep: Keep) -> Result<String, String> {
        let (kept, stream) = (RefCell::new(None), RefCell::new(None));
        step("keep").attempts(1).run(|| {
            fs::write("/tmp/kept", "kept").map_err(|error| Fatal(error.to_string()))?;
            let file = open("kept", OpenFlags::empty()).map_err(|code| Fatal(code.to_string()))?;
            *stream.borrow_mut() = file.read_via_stream(0).ok();
            *kept.borrow_mut() = Some(file);
            Ok(())
        })?;
        let (kept, stream) = (kept.into_inner(), stream.into_inner());
        let use_it = || match (keep.what.as_str(), &kept, &stream) {
            ("descriptor", Some(file), _) => code(file.stat().map(|stat| stat.size.to_string())),
            ("flags", Some(file), _) => code(file.get_flags().map(|flags| format!("{flags:?}"))),
            ("stream", _, Some(stream)) => match stream.read(4) {
                Ok(bytes) => format!("{bytes:?}"),
                Err(StreamError::Closed) => "closed".to_owned(),
                Err(StreamError::LastOperationFailed(error)) => {
                    format!(
                        "{:?}",
                        wasip2::filesystem::types::filesystem_error_code(&error)
                    )
                }
            },
            _ => "nothing was kept".to_owned(),
        };
        if keep.inside {
            let used: String = step("use").attempts(1).run(|| Ok(use_it()))?;
            Ok(used)
        } else {
            Ok(use_it())
        }
    }
}

/// What each command said.
fn run(commands: &[String]) -> Vec<String> {
    commands
        .iter()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            obey(&words).unwrap_or_else(|error| match error.kind() {
                ErrorKind::Other => error.to_string(),
                kind => format!("{kind:?}"),
            })
        })
        .collect()
}

fn obey(words: &[&str]) -> io::Result<String> {
    let done = || Ok("done".to_owned());
    match *words {
        ["write", path, text] => fs::write(path, text)?,
        ["fill", path, bytes] => fs::write(path, vec![b'x'; number(bytes)?])?,
        ["append", path, text] => OpenOptions::new()
            .append(true)
            .open(path)?
            .write_all(text.as_bytes())?,
        ["create-new", path] => drop(File::create_new(path)?),
        ["read", path] => return fs::read_to_string(path),
        ["seek", path, from_end, text] => {
            let mut file = OpenOptions::new().read(true).write(true).open(path)?;
            let from_end = i64::try_from(number(from_end)?).unwrap_or(i64::MAX);
            file.seek(SeekFrom::End(-from_end))?;
            file.write_all(text.as_bytes())?;
            file.seek(SeekFrom::Start(1))?;
            let mut rest = String::new();
            file.read_to_string(&mut rest)?;
            return Ok(rest);
        }
        ["resize", path, len] => OpenOptions::new()
            .write(true)
            .open(path)?
            .set_len(number(len)? as u64)?,
        ["stat", path] => {
            let found = fs::metadata(path)?;
            return Ok(if found.is_dir() {
                "directory".to_owned()
            } else {
                format!("file of {}", found.len())
            });
        }
        ["modified", path] => {
            let modified = fs::metadata(path)?.modified()?;
            let modified = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
            return Ok(modified.as_millis().to_string());
        }
        ["touch", path, seconds] => {
            let at = UNIX_EPOCH + Duration::from_secs(number(seconds)? as u64);
            let file = OpenOptions::new().write(true).open(path)?;
            file.set_times(FileTimes::new().set_modified(at))?;
        }
        ["list", path] => {
            let mut names = Vec::new();
            for entry in fs::read_dir(path)? {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
            return Ok(names.join(" "));
        }
        ["mkdir", path] => fs::create_dir(path)?,
        ["mkdirs", path, count] => {
            for number in 0..number(count)? {
                fs::create_dir(format!("{path}/{number}"))
                    .map_err(|error| io::Error::other(format!("{number}: {:?}", error.kind())))?;
            }
        }
        ["rmdir", path] => fs::remove_dir(path)?,
        ["rm", path] => fs::remove_file(path)?,
        ["rm-all", path] => fs::remove_dir_all(path)?,
        ["rename", from, to] => fs::rename(from, to)?,
        ["link", from, to] => fs::hard_link(from, to)?,
        ["unlinked", path, text] => {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .open(path)?;
            fs::remove_file(path)?;
            file.write_all(text.as_bytes())?;
            file.rewind()?;
            let mut read = String::new();
            file.read_to_string(&mut read)?;
            return Ok(read);
        }
        // From here on past the library, which has its own mind about paths.
        ["preopens"] => {
            let directories = preopens::get_directories().into_iter();
            let said: Vec<String> = directories
                .map(|(directory, path)| {
                    let (flags, ty) = (directory.get_flags(), directory.get_type());
                    format!("{path} {flags:?} {ty:?}")
                })
                .collect();
            return Ok(said.join(", "));
        }
        ["raw-open", path] => {
            return Ok(code(
                open(path, OpenFlags::CREATE).map(|_| "open".to_owned()),
            ));
        }
        ["raw-symlink", to, path] => {
            let made = root().and_then(|root| root.symlink_at(to, path));
            return Ok(code(made.map(|()| "made".to_owned())));
        }
        ["raw-hashes", one, other] => {
            let hash = |path| {
                root()?
                    .metadata_hash_at(PathFlags::empty(), path)
                    .map(|hash| format!("{}.{}", hash.upper, hash.lower))
            };
            return Ok(format!("{} {}", code(hash(one)), code(hash(other))));
        }
        ["raw-read-unreadable", path] => {
            let file = root().and_then(|root| {
                root.open_at(
                    PathFlags::empty(),
                    path,
                    OpenFlags::CREATE,
                    DescriptorFlags::WRITE,
                )
            });
            let read = file.and_then(|file| file.read(1, 0).map(|_| "read".to_owned()));
            return Ok(code(read));
        }
        ["raw-set-times", path] => {
            let set = root().and_then(|root| {
                root.set_times_at(
                    PathFlags::empty(),
                    path,
                    NewTimestamp::NoChange,
                    NewTimestamp::Now,
                )
            });
            return Ok(code(set.map(|()| "set".to_owned())));
        }
        _ => return Err(io::Error::other(format!("no command: {words:?}"))),
    }
    done()
}

fn number(word: &str) -> io::Result<usize> {
    word.parse().map_err(io::Error::other)
}

fn root() -> Result<Descriptor, ErrorCode> {
    let mut directories = preopens::get_directories().into_iter();
    let (directory, _) = directories.next().ok_or(ErrorCode::NoDevice)?;
    Ok(directory)
}

fn open(path: &str, how: OpenFlags) -> Result<Descriptor, ErrorCode> {
    let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
    root()?.open_at(PathFlags::empty(), path, how, flags)
}

fn code(result: Result<String, ErrorCode>) -> String {
    result.unwrap_or_else(|code| code.name().to_owned())
}
