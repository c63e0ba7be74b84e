//! The terminal: what is shown, when it is asked for again, and what keys do.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use signal_hook::consts::{SIGHUP, SIGTERM};
use sunstar::control::{Introduction, Question};

use super::rates::Rates;
use super::view::{self, Shown};
use crate::control::Client;

/// How often a signal is looked for.
const LOOK: Duration = Duration::from_millis(200);

/// The shortest and the longest time between two readings.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// How many readings the history goes back.
const HISTORY: usize = 512;

/// What a key asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    End,
    Pause,
    Faster,
    Slower,
    Up,
    Down,
    Nothing,
}

fn wish(key: KeyEvent) -> Wish {
    if key.kind == KeyEventKind::Release {
        return Wish::Nothing;
    }
    match (key.code, key.modifiers) {
        (KeyCode::Char('c'), KeyModifiers::CONTROL) | (KeyCode::Char('q') | KeyCode::Esc, _) => Wish::End,
        (KeyCode::Char('p' | ' '), _) => Wish::Pause,
        (KeyCode::Char('+' | '='), _) => Wish::Faster,
        (KeyCode::Char('-'), _) => Wish::Slower,
        (KeyCode::Up | KeyCode::Char('k'), _) => Wish::Up,
        (KeyCode::Down | KeyCode::Char('j'), _) => Wish::Down,
        _ => Wish::Nothing,
    }
}

/// Shows a stack until the user has seen enough. The terminal is as it was before, whatever happens.
///
/// # Errors
/// The terminal's own.
pub(super) fn show(path: &Path, client: Client, first: Introduction, interval: Duration) -> io::Result<()> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ended))?;
    }
    let mut terminal = ratatui::try_init()?;
    let shown = watch(&mut terminal, path, client, first, interval, &ended);
    ratatui::try_restore()?;
    shown
}

fn watch(
    terminal: &mut DefaultTerminal,
    path: &Path,
    client: Client,
    first: Introduction,
    interval: Duration,
    ended: &AtomicBool,
) -> io::Result<()> {
    let mut client = Some(client);
    let mut shown = Shown::new(first, interval.clamp(INTERVALS.0, INTERVALS.1));
    let mut next = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        let now = Instant::now();
        if now >= next {
            next = now + shown.interval;
            if !shown.paused {
                ask(path, &mut client, &mut shown);
            }
        }
        terminal.draw(|frame| view::draw(frame, &shown))?;
        let patience = next.saturating_duration_since(Instant::now()).min(LOOK);
        if !event::poll(patience)? {
            continue;
        }
        let Event::Key(key) = event::read()? else { continue };
        match wish(key) {
            Wish::End => return Ok(()),
            Wish::Pause => shown.paused = !shown.paused,
            Wish::Faster => shown.interval = (shown.interval / 2).max(INTERVALS.0),
            Wish::Slower => shown.interval = (shown.interval * 2).min(INTERVALS.1),
            Wish::Up => shown.select(-1),
            Wish::Down => shown.select(1),
            Wish::Nothing => {}
        }
    }
    Ok(())
}

/// Asks for a new reading. Whoever does not answer may have been started again, and is looked for the next time.
fn ask(path: &Path, client: &mut Option<Client>, shown: &mut Shown) {
    let connected = match client.take() {
        Some(client) => Ok(client),
        None => Client::connect(path),
    };
    match connected.and_then(|mut connected| Ok((connected.ask(&Question::Stats)?, connected))) {
        Ok((reading, connected)) => {
            *client = Some(connected);
            shown.lost = None;
            shown.rates = Rates::between(&shown.reading, &reading);
            shown.reading = reading;
            shown.history.push_front(shown.rates.all);
            shown.history.truncate(HISTORY);
            shown.select(0);
        }
        Err(error) => shown.lost = Some(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_heard_when_it_is_pressed_and_not_when_it_is_let_go() {
        let press = |code, modifiers| KeyEvent::new(code, modifiers);
        assert_eq!(wish(press(KeyCode::Char('c'), KeyModifiers::CONTROL)), Wish::End);
        assert_eq!(wish(press(KeyCode::Char('c'), KeyModifiers::NONE)), Wish::Nothing);
        assert_eq!(wish(press(KeyCode::Char('q'), KeyModifiers::NONE)), Wish::End);
        let mut released = press(KeyCode::Char('q'), KeyModifiers::NONE);
        released.kind = KeyEventKind::Release;
        assert_eq!(wish(released), Wish::Nothing);
    }
}
