//! The picture as SVG: one file, no style sheet, no font and no image from elsewhere.
//!
//! Looks are attributes on the elements, because a `<style>` would reach the page the picture is put into.
//! The ground is white whatever the page's colours are.

use core::fmt::Write as _;

use super::bus::{self, Bus};
use super::cell::{ICON, LINE, NAME, SMALL};
use super::group::Hull;
use super::icon;
use super::layout::{self, Placed, Sheet, TITLE};
use super::model::Model;
use super::shape::{GROUP_OUTLINES, GROUP_TINTS, Rect, in_turn};
use super::text::Face;
use super::{Kind, Node};

const SANS: &str =
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif";
const INK: &str = "#0f172a";
const SOFT: &str = "#475569";

/// The picture as SVG.
pub(super) fn source(model: &Model) -> String {
    let sheet = layout::sheet(model);
    let mut out = Out(String::new());
    let (width, height) = (sheet.width, sheet.height);
    out.line(&format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" font-family=\"{SANS}\" fill=\"{INK}\">"
    ));
    out.line(&format!("<title>{}</title>", escaped(&model.title)));
    out.line(&format!("<desc>{}</desc>", escaped(&description(model))));
    out.line("<rect class=\"ground\" width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>");
    out.text((36, 36 + TITLE), &model.title, Look::bold(TITLE));
    for hull in &sheet.hulls {
        out.hull(hull);
    }
    out.lines(&sheet);
    for bus in &sheet.buses {
        out.bus(bus);
    }
    for hull in &sheet.hulls {
        let label = model.groups.get(hull.group).map_or("", |g| &g.label);
        out.text(hull.label, label, Look::bold(SMALL).fill("#334155"));
    }
    for label in &sheet.labels {
        let mut y = label.y;
        for (line, face) in &label.lines {
            out.text((label.x, y), line, Look::of(*face, SMALL));
            y += LINE;
        }
    }
    for placed in &sheet.plates {
        out.plate(model, placed);
    }
    out.ends(&sheet);
    if let Some(at) = sheet.heading {
        out.text(at, "Not attached", Look::bold(SMALL).fill(SOFT));
    }
    out.line("</svg>");
    out.0
}

/// How a text looks.
#[derive(Clone, Copy)]
struct Look {
    face: Face,
    size: i32,
    fill: Option<&'static str>,
    middle: bool,
}

impl Look {
    fn of(face: Face, size: i32) -> Self {
        Self {
            face,
            size,
            fill: None,
            middle: false,
        }
    }

    fn bold(size: i32) -> Self {
        Self::of(Face::Bold, size)
    }

    fn fill(self, fill: &'static str) -> Self {
        Self {
            fill: Some(fill),
            ..self
        }
    }

    fn middle(self) -> Self {
        Self {
            middle: true,
            ..self
        }
    }

    fn attributes(self) -> String {
        let mut out = format!("font-size=\"{}\"", self.size);
        out += face(self.face);
        if let Some(fill) = self.fill {
            let _ = write!(out, " fill=\"{fill}\"");
        }
        if self.middle {
            out += " text-anchor=\"middle\"";
        }
        out
    }
}

fn face(face: Face) -> &'static str {
    match face {
        Face::Sans => "",
        Face::Bold => " font-weight=\"600\"",
        Face::Mono => {
            " font-family=\"ui-monospace, Menlo, Consolas, 'Noto Sans Mono', 'DejaVu Sans Mono', monospace\""
        }
    }
}

/// The text being written.
struct Out(String);

impl Out {
    fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn text(&mut self, (x, y): (i32, i32), text: &str, look: Look) {
        if !text.is_empty() {
            let attributes = look.attributes();
            let text = escaped(text);
            self.line(&format!(
                "<text x=\"{x}\" y=\"{y}\" {attributes}>{text}</text>"
            ));
        }
    }

    /// The ground of a group. The parts are filled after all of them are outlined, which leaves of the
    /// outlines what is the outline of the whole.
    fn hull(&mut self, hull: &Hull) {
        let fill = in_turn(&GROUP_TINTS, hull.group);
        let stroke = in_turn(&GROUP_OUTLINES, hull.group);
        for part in &hull.parts {
            let rect = rect(*part, 14);
            self.line(&format!(
                "<rect class=\"group\" {rect} fill=\"{fill}\" stroke=\"{stroke}\" stroke-width=\"2.4\"/>"
            ));
        }
        for part in &hull.parts {
            let rect = rect(*part, 14);
            self.line(&format!("<rect class=\"group\" {rect} fill=\"{fill}\"/>"));
        }
    }

    fn lines(&mut self, sheet: &Sheet<'_>) {
        for line in &sheet.lines {
            let points: Vec<String> = line
                .points
                .iter()
                .map(|(x, y)| format!("{x},{y}"))
                .collect();
            self.line(&format!(
                "<polyline class=\"wire\" points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2.5\"/>",
                points.join(" "),
                line.colour
            ));
        }
    }

    /// The marks that tell an end from a passage: a dot on the bus, a plug at the box.
    fn ends(&mut self, sheet: &Sheet<'_>) {
        for line in &sheet.lines {
            let (Some((x, y)), Some((to_x, to_y))) = (line.points.first(), line.points.last())
            else {
                continue;
            };
            let colour = line.colour;
            self.line(&format!(
                "<circle cx=\"{x}\" cy=\"{y}\" r=\"4.5\" fill=\"{colour}\" stroke=\"#ffffff\" stroke-width=\"1.5\"/>"
            ));
            self.line(&format!(
                "<circle cx=\"{to_x}\" cy=\"{to_y}\" r=\"4\" fill=\"{colour}\"/>"
            ));
        }
    }

    fn bus(&mut self, bus: &Bus<'_>) {
        let shape = rect(bus.rect, 9);
        self.line("<g class=\"network\">");
        self.line(&format!(
            "<rect class=\"bus\" {shape} fill=\"{}\" stroke=\"#ffffff\" stroke-width=\"3\"/>",
            bus.colour
        ));
        let mut y = bus.rect.y + bus::MARGIN + bus::LINE - 4;
        for line in &bus.lines {
            let mut runs = String::new();
            for (place, (run, style)) in line.iter().enumerate() {
                let space = if place > 0 {
                    format!(" dx=\"{}\"", bus::SPACE)
                } else {
                    String::new()
                };
                let _ = write!(
                    runs,
                    "<tspan{space}{}>{}</tspan>",
                    face(*style),
                    escaped(run)
                );
            }
            let attributes = Look::of(Face::Sans, bus::SIZE)
                .fill("#ffffff")
                .middle()
                .attributes();
            let x = bus.rect.center();
            self.line(&format!(
                "<text x=\"{x}\" y=\"{y}\" {attributes}>{runs}</text>"
            ));
            y += bus::LINE;
        }
        self.line("</g>");
    }

    fn plate(&mut self, model: &Model, placed: &Placed<'_>) {
        let (node, at) = (placed.plate.node, placed.rect);
        self.line("<g class=\"node\">");
        self.line(&format!(
            "<title>{}</title>",
            escaped(&sentence(model, node))
        ));
        self.line(&outline(node.kind, at));
        let (x, look, top) = match node.kind {
            Kind::Internet => (
                at.center(),
                Look::bold(NAME + 1).middle(),
                at.y + at.height / 2 + 8,
            ),
            Kind::Host | Kind::Router | Kind::Container => {
                self.line(&format!(
                    "<path transform=\"translate({} {})\" d=\"{}\" fill=\"none\" stroke=\"{SOFT}\" \
                     stroke-width=\"1.6\" stroke-linecap=\"round\" stroke-linejoin=\"round\"/>",
                    at.x + 11,
                    at.y + at.height / 2 - 12,
                    icon::lines(node.kind)
                ));
                (at.x + ICON, Look::bold(NAME), at.y + 21)
            }
        };
        self.text((x, top), &node.name, look);
        let look = Look {
            face: Face::Sans,
            size: SMALL,
            ..look.fill(SOFT)
        };
        let mut y = top + LINE + 2;
        for line in &placed.plate.lines {
            self.text((x, y), line, look);
            y += LINE;
        }
        self.line("</g>");
    }
}

/// The shape that tells a kind without its pictogram.
fn outline(kind: Kind, at: Rect) -> String {
    let (radius, fill, stroke, width) = match kind {
        Kind::Internet => {
            let path = icon::cloud(at.x, at.y, at.width, at.height);
            return format!(
                "<path class=\"plate\" d=\"{path}\" fill=\"#eaf2fb\" stroke=\"{SOFT}\" stroke-width=\"1.8\"/>"
            );
        }
        Kind::Host => (3, "#e9eef5", "#1e293b", "2.2"),
        Kind::Router => (at.height / 2, "#ffffff", "#334155", "1.8"),
        Kind::Container => (9, "#ffffff", "#64748b", "1.4"),
    };
    let rect = rect(at, radius);
    format!(
        "<rect class=\"plate\" {rect} fill=\"{fill}\" stroke=\"{stroke}\" stroke-width=\"{width}\"/>"
    )
}

fn rect(rect: Rect, radius: i32) -> String {
    let Rect {
        x,
        y,
        width,
        height,
    } = rect;
    format!("x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{radius}\"")
}

/// The whole picture in words, for those who do not see it.
fn description(model: &Model) -> String {
    let nodes = model.nodes.iter().map(|node| sentence(model, &node.is));
    let networks = model.networks.iter().map(|network| {
        let prefixes = network.is.prefixes.join(" ");
        format!("Network {} {prefixes}", network.is.name)
            .trim_end()
            .to_owned()
            + "."
    });
    let groups = model
        .groups
        .iter()
        .map(|group| format!("{}: {}.", group.label, group.members.join(", ")));
    let sentences: Vec<String> = nodes.chain(networks).chain(groups).collect();
    sentences.join(" ")
}

/// `R1: eth1 192.168.101.2/24 on outside-br1, eth2 192.168.102.1/24 on internal-br2.`
fn sentence(model: &Model, node: &Node) -> String {
    let attachments: Vec<String> = model
        .of_node(&node.name)
        .map(|a| format!("{} {} on {}", a.interface, a.addresses.join(" "), a.network))
        .collect();
    if attachments.is_empty() {
        format!("{}: not attached.", node.name)
    } else {
        format!("{}: {}.", node.name, attachments.join(", "))
    }
}

/// Text as character data, on one line; what XML 1.0 cannot hold is replaced.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
