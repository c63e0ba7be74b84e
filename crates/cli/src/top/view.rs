//! What the terminal shows of a reading.

use std::collections::VecDeque;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, Table, Wrap};
use sunstar::ShardStats;
use sunstar::control::{Instance, Introduction};

use super::rates::{Flow, Rates, dropped, short};
use crate::control::duration;

/// What there is to be shown.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) reading: Introduction,
    pub(super) rates: Rates,
    /// All shards together, the latest first.
    pub(super) history: VecDeque<Flow>,
    pub(super) interval: Duration,
    pub(super) paused: bool,
    /// Why the stack does not answer any more.
    pub(super) lost: Option<String>,
    /// The shard whose details are shown; none for all together.
    selected: Option<usize>,
    /// Whether colours are welcome (no-color.org).
    colors: bool,
}

impl Shown {
    /// A first reading, of which nothing can be said by the second.
    pub(super) fn new(reading: Introduction, interval: Duration) -> Self {
        let colors = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let rates = Rates::between(&reading, &reading);
        let history = VecDeque::new();
        Self { reading, rates, history, interval, paused: false, lost: None, selected: None, colors }
    }

    /// Goes to the next shard or the one before; above the first are all of them.
    pub(super) fn select(&mut self, step: isize) {
        let last = self.reading.stats.shards.len() as isize - 1;
        let at = self.selected.map_or(-1, |at| at as isize).saturating_add(step);
        self.selected = usize::try_from(at.min(last)).ok();
    }

    fn style(&self, color: Color) -> Style {
        if self.colors { Style::new().fg(color) } else { Style::new() }
    }

    /// A shard's colour, the same everywhere.
    fn of_shard(&self, shard: u16) -> Style {
        const COLORS: [Color; 8] = [
            Color::Cyan,
            Color::Yellow,
            Color::Green,
            Color::Magenta,
            Color::LightBlue,
            Color::LightRed,
            Color::LightGreen,
            Color::White,
        ];
        self.style(COLORS[usize::from(shard) % COLORS.len()])
    }
}

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, shown: &Shown) {
    let shards = shown.reading.stats.shards.len() as u16;
    let entries = shown.reading.stats.steering.table.len() as u16;
    let area = frame.area();
    let lines_of_table = entries.div_ceil(entries_in_a_line(area.width));
    let steering = if shards > 1 && area.height >= 20 { lines_of_table + 2 } else { 0 };
    let [head, table, picture, below, foot] = Layout::vertical([
        Constraint::Length(4),
        Constraint::Length((shards + 3).min(area.height / 2)),
        Constraint::Length(steering),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(header(shown), head);
    draw_shards(frame, shown, table);
    if steering > 0 {
        frame.render_widget(steering_picture(shown, picture.width), picture);
    }
    let [details, history] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(below);
    frame.render_widget(details_of(shown), details);
    draw_history(frame, shown, history);
    frame.render_widget(footer(shown), foot);
}

fn header(shown: &Shown) -> Paragraph<'_> {
    let Introduction { instance: Instance { program, pid, version, uptime }, stats } = &shown.reading;
    let all = &shown.rates.all;
    let connections: usize = stats.shards.iter().map(|shard| shard.connections).sum();
    let figure = |value: String, unit: &'static str| [Span::from(value).bold(), Span::from(unit)];
    let first = Line::from(vec![
        Span::styled(program.clone(), shown.style(Color::Cyan).add_modifier(Modifier::BOLD)),
        Span::from(format!("  process {pid}  sunstar {version}  up {}", duration(*uptime))),
    ]);
    let second = Line::from(format!("{} shards, steered by {}", stats.shards.len(), stats.steering.by));
    let figures = [
        figure(connections.to_string(), " connections  "),
        figure(short(all.packets_in), " packets/s in  "),
        figure(short(all.packets_out), " out  "),
        figure(short(all.bits_in), "bit/s in  "),
        figure(short(all.bits_out), "bit/s out  "),
        figure(short(all.forwarded), " forwarded/s"),
    ];
    let third = Line::from_iter(figures.into_iter().flatten());
    let troubles =
        [("opened/s", all.opened, false), ("resent/s", all.resent, true), ("dropped/s", all.dropped, true)];
    let fourth = Line::from_iter(troubles.into_iter().flat_map(|(what, rate, is_trouble)| {
        let style = if is_trouble && rate > 0.0 { shown.style(Color::Red) } else { Style::new() };
        [Span::styled(short(rate), style.add_modifier(Modifier::BOLD)), Span::from(format!(" {what}  "))]
    }));
    Paragraph::new(vec![first, second, third, fourth])
}

/// The columns, by how much they are missed when there is no room: heading, width, and what a shard has there.
type Column = (&'static str, u16, fn(&ShardStats, &Flow) -> String);

const COLUMNS: [Column; 13] = [
    ("shard", 5, |shard, _| shard.shard.to_string()),
    ("queue", 6, |shard, _| match shard.queue.owner == shard.shard {
        true => "own".to_owned(),
        false => format!("of {}", shard.queue.owner),
    }),
    ("in/s", 6, |_, flow| short(flow.packets_in)),
    ("out/s", 6, |_, flow| short(flow.packets_out)),
    ("bit/s in", 8, |_, flow| short(flow.bits_in)),
    ("bit/s out", 9, |_, flow| short(flow.bits_out)),
    ("forw./s", 7, |_, flow| short(flow.forwarded)),
    ("conns", 6, |shard, _| shard.connections.to_string()),
    ("drops/s", 7, |_, flow| short(flow.dropped)),
    ("ring/max", 9, |shard, _| format!("{}/{}", shard.rings.waiting, shard.rings.deepest)),
    ("buffers", 11, |shard, _| format!("{}/{}", shard.pool.small_out, shard.pool.small)),
    ("restarts", 8, |shard, _| shard.restarts.to_string()),
    ("stalls", 6, |shard, _| shard.stalls.to_string()),
];

fn draw_shards(frame: &mut Frame<'_>, shown: &Shown, area: Rect) {
    let mut room = area.width.saturating_sub(2);
    let columns: Vec<&Column> = COLUMNS
        .iter()
        .take_while(|(_, width, _)| {
            let fits = room >= *width;
            room = room.saturating_sub(width + 1);
            fits
        })
        .collect();
    let right = |text: String| Cell::from(Line::from(text).alignment(Alignment::Right));
    let header = Row::new(columns.iter().map(|(name, ..)| right((*name).to_owned())))
        .style(Style::new().add_modifier(Modifier::BOLD));
    let rows =
        shown.reading.stats.shards.iter().zip(&shown.rates.shards).enumerate().map(|(at, (shard, flow))| {
            let mut style = shown.of_shard(shard.shard);
            if shown.selected == Some(at) {
                style = style.add_modifier(Modifier::REVERSED);
            }
            Row::new(columns.iter().map(|(_, _, show)| right(show(shard, flow)))).style(style)
        });
    // The selected one has to be seen.
    let visible = usize::from(area.height.saturating_sub(3)).max(1);
    let skipped = shown.selected.map_or(0, |at| (at + 1).saturating_sub(visible));
    let widths = columns.iter().map(|(_, width, _)| Constraint::Length(*width));
    let table =
        Table::new(rows.skip(skipped), widths).header(header).block(Block::bordered().title(" shards "));
    frame.render_widget(table, area);
}

/// The table's length is a power of two, and so is a line's.
fn entries_in_a_line(width: u16) -> u16 {
    let room = width.saturating_sub(2).max(1);
    1 << room.ilog2()
}

/// Which shard each entry of the indirection table names, and how hot it is.
fn steering_picture(shown: &Shown, width: u16) -> Paragraph<'_> {
    let steering = &shown.reading.stats.steering;
    let entry = |(at, shard): (usize, &u16)| {
        let digit = char::from_digit(u32::from(*shard) % 36, 36).unwrap_or('?');
        let style = shown.of_shard(*shard);
        let style = match shown.rates.heat.get(at).copied().unwrap_or_default() {
            heat if heat > 0.66 => style.add_modifier(Modifier::BOLD | Modifier::REVERSED),
            heat if heat > 0.33 => style.add_modifier(Modifier::BOLD),
            heat if heat > 0.0 => style,
            _ => style.add_modifier(Modifier::DIM),
        };
        Span::styled(digit.to_string(), style)
    };
    let spans: Vec<_> = steering.table.iter().enumerate().map(entry).collect();
    let in_a_line = usize::from(entries_in_a_line(width));
    let lines: Vec<_> = spans.chunks(in_a_line).map(|line| Line::from(line.to_vec())).collect();
    let title = " the indirection table: which shard has which entry; dim is idle, reversed is hottest ";
    Paragraph::new(lines).block(Block::bordered().title(title))
}

/// What a shard has to say besides, or all of them together.
fn details_of(shown: &Shown) -> Paragraph<'_> {
    let shards = &shown.reading.stats.shards;
    let (title, chosen) = match shown.selected.and_then(|at| shards.get(at)) {
        Some(shard) => (format!(" shard {} ", shard.shard), std::slice::from_ref(shard)),
        None => (" all shards ".to_owned(), &shards[..]),
    };
    let sum = |read: fn(&ShardStats) -> u64| chosen.iter().map(read).sum::<u64>();
    let mut lines = vec![
        Line::from(format!(
            "TCP: {} opened here, {} by others, {} listeners",
            sum(|it| it.counters.tcp.active_opens),
            sum(|it| it.counters.tcp.passive_opens),
            sum(|it| it.listeners as u64),
        )),
        Line::from(format!(
            "{} sent again, {} timeouts, {} resets sent",
            sum(|it| it.counters.tcp.retransmissions),
            sum(|it| it.counters.tcp.timeouts),
            sum(|it| it.counters.tcp.resets_sent),
        )),
    ];
    for shard in chosen {
        if shard.queue.shares.len() > 1 {
            lines.push(shares(shard));
        }
        if let Some(failure) = &shard.device.failure {
            lines.push(Line::styled(format!("its device failed: {failure}"), shown.style(Color::Red)));
        }
        if let Some(stall) = &shard.last_stall {
            let text = format!("shard {} was held {} ms by {}", shard.shard, stall.milliseconds, stall.task);
            lines.push(Line::styled(text, shown.style(Color::Red)));
        }
    }
    let drops = dropped(chosen);
    lines.push(if drops.is_empty() { Line::from("nothing dropped") } else { Line::from("dropped:").bold() });
    let mut drops: Vec<_> = drops.into_iter().collect();
    drops.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    lines.extend(
        drops.into_iter().map(|(name, count)| Line::from(format!("{count:>10} {}", name.replace('_', " ")))),
    );
    Paragraph::new(lines).wrap(Wrap { trim: false }).block(Block::bordered().title(title))
}

/// Who has sent how much through a shard's queue, all the time that it was there.
fn shares(shard: &ShardStats) -> Line<'static> {
    let shares = &shard.queue.shares;
    let all = shares.iter().map(|share| share.bytes).sum::<u64>().max(1);
    let part = |bytes: u64| (bytes as f64 / all as f64 * 100.0).round();
    let parts: Vec<_> =
        shares.iter().map(|share| format!("shard {} {} %", share.shard, part(share.bytes))).collect();
    Line::from(format!("queue of shard {}: {}", shard.shard, parts.join(", ")))
}

fn draw_history(frame: &mut Frame<'_>, shown: &Shown, area: Rect) {
    let flows = || shown.history.iter().map(|flow| (flow.bits_in + flow.bits_out) as u64);
    let most = flows().max().unwrap_or(0);
    let title = format!(" bit/s in and out, {} at most; now on the left ", short(most as f64));
    let line = Sparkline::default()
        .data(flows().collect::<Vec<_>>())
        .max(most.max(1))
        .style(shown.style(Color::Green))
        .block(Block::bordered().title(title));
    frame.render_widget(line, area);
}

fn footer(shown: &Shown) -> Line<'_> {
    if let Some(lost) = &shown.lost {
        return Line::styled(
            format!("it does not answer ({lost}); looking again; q ends"),
            shown.style(Color::Red),
        );
    }
    let state = if shown.paused { "paused" } else { "every" };
    Line::from(format!(
        "{state} {:.1} s   q quit   p pause   + - faster, slower   up down: a shard's details",
        shown.interval.as_secs_f64()
    ))
    .dim()
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::top::text::tests::reading;

    fn shown(shards: u16) -> Shown {
        let mut later = reading(shards);
        later.instance.uptime += 1.0;
        for (at, shard) in later.stats.shards.iter_mut().enumerate() {
            shard.counters.ip.received = 1_000 * (at as u64 + 1);
            shard.counters.ip.sent_bytes = 1_250_000;
        }
        later.stats.shards[0].counters.drops.mesh_full = 12;
        later.stats.shards[0].queue.shares = serde_json::from_str(
            r#"[{"shard":0,"weight":1,"frames":1,"bytes":10},{"shard":1,"weight":1,"frames":1,"bytes":30}]"#,
        )
        .unwrap();
        let mut shown = Shown::new(reading(shards), Duration::from_secs(1));
        shown.rates = Rates::between(&shown.reading, &later);
        shown.reading = later;
        shown.history.push_front(shown.rates.all);
        shown
    }

    /// The screen's lines.
    fn screen(shown: &Shown, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, shown)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(line).collect()
    }

    #[test]
    fn a_large_screen_has_all_columns_the_table_and_the_drops() {
        let screen = screen(&shown(4), 120, 36).join("\n");
        for expected in [
            "process 4711  sunstar 0.1.0  up 1 min 2 s",
            "4 shards, steered by a program in the kernel",
            "12 connections  10.0k packets/s in",
            "40.0Mbit/s out",
            "stalls",
            "0123012301230123",
            "12 mesh full",
            "queue of shard 0: shard 0 25 %, shard 1 75 %",
            "q quit",
        ] {
            assert!(screen.contains(expected), "{expected} is missing:\n{screen}");
        }
    }

    #[test]
    fn a_small_screen_has_what_is_missed_most() {
        let lines = screen(&shown(4), 80, 24);
        let text = lines.join("\n");
        assert!(text.contains("drops/s") && !text.contains("restarts"), "{text}");
        assert!(text.contains("0123") && text.contains("all shards") && text.contains("q quit"), "{text}");
        assert!(lines.iter().any(|line| line.contains(" 3 ") && line.contains("4.00k")), "{text}");
    }

    #[test]
    fn a_tiny_screen_and_a_host_of_many_shards_are_drawn_all_the_same() {
        for (width, height) in [(1, 1), (20, 5), (300, 100)] {
            screen(&shown(1), width, height);
            screen(&shown(64), width, height);
        }
        let mut many = shown(64);
        many.select(64);
        let text = screen(&many, 100, 30).join("\n");
        assert!(text.contains("shard 63") && text.contains("64.0k"), "the selected one is seen:\n{text}");
    }

    #[test]
    fn the_selected_shard_is_shown_alone_and_above_the_first_are_all() {
        let mut it = shown(2);
        it.select(1);
        assert!(screen(&it, 100, 30).join("\n").contains(" shard 0 "));
        it.select(1);
        let second = screen(&it, 100, 30).join("\n");
        assert!(second.contains(" shard 1 ") && second.contains("nothing dropped"), "{second}");
        it.select(1);
        assert_eq!(it.selected, Some(1), "there is none below the last");
        it.select(-2);
        assert!(screen(&it, 100, 30).join("\n").contains("all shards"));
    }

    #[test]
    fn a_stack_that_does_not_answer_is_said_to() {
        let mut it = shown(1);
        it.lost = Some("Connection refused".to_owned());
        assert!(screen(&it, 100, 30).join("\n").contains("it does not answer (Connection refused)"));
    }
}
