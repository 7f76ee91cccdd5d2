//! A run as a live view: what is pressed, and what is looked at meanwhile.

use std::pin::Pin;

use dacapo_client::{By, Cancelled, Client, LogLevel, LogLine, Paused, Run, RunId};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::view::{Question, View};
use super::watch::{Left, WATCH_EVERY, pause_after};
use crate::command::signal::{INTERRUPTED, Stop};
use crate::error::{Failed, Result};
use crate::ui::{Input, Key, Screen, Tone};

/// What a view does when its run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtEnd {
    /// It is left.
    Leave,
    /// It goes on showing the run until somebody goes back.
    Stay,
}

/// What was seen of the run.
type Seen = Result<(Run, Vec<LogLine>)>;

/// What somebody has asked for, under way: it ends with what is said about it.
type Acting<'a> = Pin<Box<dyn Future<Output = Result<String>> + 'a>>;

/// What a key is pressed for.
enum Wish {
    Nothing,
    Leave,
    /// Leave, and say that it was interrupted.
    Interrupt,
    Pause,
    Resume,
    Cancel,
}

/// Shows a run until it has ended, somebody wants to see no more, or the process is asked to stop.
pub(super) async fn watch(
    screen: &mut Screen,
    stop: &mut Stop,
    client: &Client,
    id: RunId,
    by: By<'_>,
    at_end: AtEnd,
) -> Result<Left> {
    let (sees, mut seen) = mpsc::channel(1);
    let looking = async {
        look(client, id, sees).await;
        std::future::pending::<()>().await;
    };
    let mut looking = std::pin::pin!(looking);
    let mut comes_more = true;
    let mut view = View::new(id, at_end == AtEnd::Stay);
    let mut acting: Option<Acting<'_>> = None;
    loop {
        screen.draw(|columns, rows| view.lines(columns, rows))?;
        tokio::select! {
            biased;
            code = stop.asked_by() => return Ok(Left::Stopped(code)),
            input = screen.input() => {
                let quit = Left::Quit(view.status());
                let key = match input {
                    None => return Ok(quit),
                    Some(Input::Other) => continue,
                    Some(Input::Key(key)) => key,
                };
                let wish = pressed(&mut view, key);
                match wish {
                    Wish::Leave => return Ok(quit),
                    Wish::Interrupt => return Ok(Left::Stopped(INTERRUPTED)),
                    _ => {}
                }
                if acting.is_none() {
                    acting = act(client, id, by, &wish);
                }
            }
            done = done(&mut acting) => {
                acting = None;
                match done {
                    Ok(said) => view.say(said, Tone::Good),
                    Err(failed) => view.say(failed.message, Tone::Bad),
                }
            }
            news = seen.recv(), if comes_more => match news {
                Some(news) => {
                    let (run, lines) = news?;
                    let has_ended = run.status.is_terminal();
                    if has_ended && at_end == AtEnd::Leave {
                        return Ok(Left::Ended(Box::new(run)));
                    }
                    view.show(run, lines);
                }
                // Nothing more becomes of it.
                None => comes_more = false,
            },
            () = &mut looking => {}
            // Ages are shown, too.
            () = tokio::time::sleep(WATCH_EVERY * 2) => {}
        }
    }
}

/// What has become of what was asked for; never, if nothing was.
async fn done(acting: &mut Option<Acting<'_>>) -> Result<String> {
    match acting {
        Some(acting) => acting.await,
        None => std::future::pending().await,
    }
}

/// Looks at a run again and again until it has ended.
async fn look(client: &Client, id: RunId, sees: mpsc::Sender<Seen>) {
    let mut tail = match client.log_tail(id, LogLevel::Trace).await {
        Ok(tail) => tail,
        Err(error) => {
            let _ = sees.send(Err(Failed::from(error))).await;
            return;
        }
    };
    loop {
        let began = Instant::now();
        let seen = async {
            let run = client.get(id).await?;
            // Read after the run: the lines of one that has ended are all there.
            let lines = tail.next_lines().await?;
            Ok::<_, Failed>((run, lines))
        };
        let seen = seen.await;
        let is_last = match &seen {
            Ok((run, _)) => run.status.is_terminal(),
            Err(_) => true,
        };
        if sees.send(seen).await.is_err() || is_last {
            return;
        }
        let pause = pause_after(began.elapsed(), WATCH_EVERY);
        // Ends early when the run does.
        let _ = client.wait(id, Some(pause)).await;
    }
}

fn pressed(view: &mut View, key: Key) -> Wish {
    if key == Key::Interrupt {
        return Wish::Interrupt;
    }
    if view.question().is_some() {
        return match key {
            Key::Letter('y' | 'Y') => {
                view.ask(None);
                Wish::Cancel
            }
            _ => {
                view.ask(None);
                Wish::Nothing
            }
        };
    }
    view.unsay();
    match key {
        Key::Letter('q') | Key::Escape => return Wish::Leave,
        Key::Letter('p') => return Wish::Pause,
        Key::Letter('r') => return Wish::Resume,
        Key::Letter('c') => view.ask(Some(Question::Cancel)),
        Key::Up | Key::Letter('k') => view.scroll(-1),
        Key::Down | Key::Letter('j') => view.scroll(1),
        Key::PageUp => view.scroll_page(-1),
        Key::PageDown | Key::Letter(' ') => view.scroll_page(1),
        Key::Home | Key::Letter('g') => view.scroll(isize::MIN),
        Key::End | Key::Letter('G' | 'f') => view.follow(),
        Key::Enter | Key::Interrupt | Key::Letter(_) => {}
    }
    Wish::Nothing
}

fn act<'a>(client: &'a Client, id: RunId, by: By<'a>, wish: &Wish) -> Option<Acting<'a>> {
    Some(match wish {
        Wish::Nothing | Wish::Leave | Wish::Interrupt => return None,
        Wish::Pause => Box::pin(async move {
            Ok(match client.pause_by(id, by).await? {
                Paused::Now => "it is paused".to_owned(),
                Paused::Requested => "it will pause at its next step or wait".to_owned(),
            })
        }),
        Wish::Resume => Box::pin(async move {
            client.resume_by(id, by).await?;
            Ok("it goes on".to_owned())
        }),
        Wish::Cancel => Box::pin(async move {
            Ok(match client.cancel_by(id, by).await? {
                Cancelled::Now => "it is cancelled".to_owned(),
                Cancelled::Requested => "it is being cancelled".to_owned(),
            })
        }),
    })
}
