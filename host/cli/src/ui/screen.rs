//! A view that has the whole terminal while it lasts. However it ends, the terminal is given back as it was.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossterm::cursor::{Hide, Show};
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::execute;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use tokio::sync::mpsc;

use super::{Line, Stream, Ui};
use crate::error::{Failed, Result};

/// How often the reader of keys looks whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Whether a screen is up, for a panic.
static IS_UP: AtomicBool = AtomicBool::new(false);

/// A key that means something to a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Letter(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    /// Ctrl-C, which sends no signal while the view has the terminal.
    Interrupt,
}

/// What comes from a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    Key(Key),
    /// It has another size, or something else that is drawn anew for.
    Other,
}

/// The terminal, while a view has it.
pub(crate) struct Screen {
    /// What stands there: its size, and the lines as they were written.
    shown: ((u16, u16), Vec<String>),
    has_colour: bool,
    events: mpsc::UnboundedReceiver<Event>,
    is_over: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Screen {
    /// Whether somebody looks at standard output and can press keys.
    pub(crate) fn is_possible(ui: Ui) -> bool {
        !ui.is_json() && Stream::Out.is_terminal() && std::io::stdin().is_terminal()
    }

    /// Takes the terminal.
    pub(crate) fn open() -> Result<Self> {
        give_back_in_panic();
        // From here on it is to be given back, even if it was taken only in part.
        IS_UP.store(true, Ordering::SeqCst);
        let (sender, events) = mpsc::unbounded_channel();
        let is_over = Arc::new(AtomicBool::new(false));
        let taken = enable_raw_mode()
            .and_then(|()| execute!(stdout(), EnterAlternateScreen, Hide))
            .and_then(|()| {
                let is_over = Arc::clone(&is_over);
                let read = move || read_events(&is_over, &sender);
                std::thread::Builder::new()
                    .name("keys".to_owned())
                    .spawn(read)
            });
        match taken {
            Ok(reader) => Ok(Self {
                shown: ((0, 0), Vec::new()),
                has_colour: Stream::Out.has_colour(),
                events,
                is_over,
                reader: Some(reader),
            }),
            Err(error) => {
                give_back();
                Err(
                    Failed::request(format!("cannot take the terminal: {error}"))
                        .hint("--plain prints line by line"),
                )
            }
        }
    }

    /// Shows these lines of so many columns and rows, and nothing else. What stands there already is not written again.
    pub(crate) fn draw(&mut self, lines: impl FnOnce(usize, usize) -> Vec<Line>) -> Result<()> {
        // A terminal that knows no size has this one.
        let now = size().unwrap_or((80, 24));
        let (columns, rows) = (usize::from(now.0), usize::from(now.1));
        if self.shown.0 != now {
            // What a terminal makes of its lines when its size changes is its own affair.
            self.shown = (now, Vec::new());
        }
        let lines = lines(columns, rows);
        let lines = lines.iter().take(rows);
        let mut lines: Vec<String> = lines
            .map(|line| line.written(columns, self.has_colour))
            .collect();
        lines.resize(rows, String::new());
        let mut out = String::new();
        for (row, line) in lines.iter().enumerate() {
            if self.shown.1.get(row) != Some(line) {
                let _ = write!(out, "\x1b[{};1H\x1b[K{line}", row + 1);
            }
        }
        self.shown.1 = lines;
        let mut terminal = stdout().lock();
        terminal
            .write_all(out.as_bytes())
            .and_then(|()| terminal.flush())
            .map_err(|error| Failed::request(format!("cannot write on the terminal: {error}")))
    }

    /// What comes next from the terminal; none: nothing more comes.
    pub(crate) async fn input(&mut self) -> Option<Input> {
        Some(match self.events.recv().await? {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                meaning(key).map_or(Input::Other, Input::Key)
            }
            _ => Input::Other,
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Keys that are pressed from here on are for somebody else.
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        give_back();
    }
}

fn meaning(key: KeyEvent) -> Option<Key> {
    // So that a test can see what becomes of the terminal.
    #[cfg(feature = "failpoints")]
    assert!(key.code != KeyCode::F(12), "asked to panic");
    Some(match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Key::Interrupt,
        KeyCode::Char(letter) if !key.modifiers.contains(KeyModifiers::CONTROL) => {
            Key::Letter(letter)
        }
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        _ => return None,
    })
}

/// Reading blocks, so a thread of its own does it.
fn read_events(is_over: &AtomicBool, events: &mpsc::UnboundedSender<Event>) {
    while !is_over.load(Ordering::SeqCst) {
        let read = match event::poll(LOOK_EVERY) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(error) => Err(error),
        };
        let Ok(read) = read else { return };
        if events.send(read).is_err() {
            return;
        }
    }
}

fn give_back() {
    if IS_UP.swap(false, Ordering::SeqCst) {
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// What a panic says is to be read on the terminal as it was before.
fn give_back_in_panic() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
    });
}
