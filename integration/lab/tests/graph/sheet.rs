//! Reads an SVG back: rectangles, lines and texts with their estimated rooms.

use plumb_lab::graph::{Format, Picture};

#[derive(Clone, Debug)]
pub(crate) struct Area {
    what: String,
    pub(crate) left: f64,
    top: f64,
    pub(crate) right: f64,
    bottom: f64,
}

#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) colour: String,
    pub(crate) area: Area,
    end: (f64, f64),
}

/// What an SVG shows.
pub(crate) struct Sheet {
    pub(crate) source: String,
    pub(crate) page: Area,
    pub(crate) plates: Vec<Area>,
    pub(crate) buses: Vec<Area>,
    pub(crate) groups: Vec<Area>,
    /// Texts outside boxes and buses.
    pub(crate) labels: Vec<Area>,
    /// Texts within.
    pub(crate) inner: Vec<Area>,
    pub(crate) wires: Vec<Wire>,
    texts: Vec<String>,
}

impl Area {
    fn new(what: &str, left: f64, top: f64, right: f64, bottom: f64) -> Self {
        Self {
            what: what.to_owned(),
            left,
            top,
            right,
            bottom,
        }
    }

    fn around(what: &str, points: &[(f64, f64)]) -> Self {
        let min = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).fold(f64::MAX, f64::min);
        let max = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).fold(f64::MIN, f64::max);
        Self::new(what, min(|p| p.0), min(|p| p.1), max(|p| p.0), max(|p| p.1))
    }

    fn rect(what: &str, line: &str) -> Self {
        let [x, y, width, height] = ["x", "y", "width", "height"].map(|name| number(line, name));
        Self::new(what, x, y, x + width, y + height)
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    pub(crate) fn holds(&self, other: &Self) -> bool {
        self.left <= other.left
            && self.top <= other.top
            && self.right >= other.right
            && self.bottom >= other.bottom
    }
}

impl Wire {
    /// Whether it goes to the box and not through it.
    pub(crate) fn ends_at(&self, area: &Area) -> bool {
        let (x, y) = self.end;
        let on_edge = x <= area.left || x >= area.right || y <= area.top || y >= area.bottom;
        let (grown, end) = (1.0, Area::new("", x, y, x, y));
        let near = Area::new(
            "",
            area.left - grown,
            area.top - grown,
            area.right + grown,
            area.bottom + grown,
        );
        on_edge && near.holds(&end)
    }
}

fn attribute<'a>(line: &'a str, name: &str) -> &'a str {
    let start = format!(" {name}=\"");
    let at = line
        .find(&start)
        .unwrap_or_else(|| panic!("{name} in {line}"));
    line[at + start.len()..].split('"').next().unwrap()
}

fn number(line: &str, name: &str) -> f64 {
    attribute(line, name).parse().unwrap()
}

/// Pairs of numbers, whatever stands between them.
fn points(text: &str) -> Vec<(f64, f64)> {
    let numbers: Vec<f64> = text
        .split(|c: char| !c.is_ascii_digit() && c != '-' && c != '.')
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().unwrap())
        .collect();
    numbers.chunks(2).map(|pair| (pair[0], pair[1])).collect()
}

/// Character data without elements and entities.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in text.chars() {
        match c {
            '<' => inside = true,
            '>' => inside = false,
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

impl Sheet {
    pub(crate) fn of(picture: &Picture) -> Self {
        let source = picture.draw(Format::Svg);
        let view = points(attribute(source.lines().next().unwrap(), "viewBox"));
        let mut sheet = Self {
            page: Area::new("page", view[0].0, view[0].1, view[1].0, view[1].1),
            plates: Vec::new(),
            buses: Vec::new(),
            groups: Vec::new(),
            labels: Vec::new(),
            inner: Vec::new(),
            wires: Vec::new(),
            texts: Vec::new(),
            source: String::new(),
        };
        let mut within = false;
        for line in source.lines() {
            match line {
                line if line.starts_with("<g ") => within = true,
                "</g>" => within = false,
                line if line.starts_with("<text") => sheet.read_text(line, within),
                line => sheet.read_shape(line),
            }
        }
        sheet.source = source;
        sheet
    }

    fn read_shape(&mut self, line: &str) {
        if line.starts_with("<rect class=\"plate\"") {
            self.plates.push(Area::rect("plate", line));
        } else if line.starts_with("<path class=\"plate\"") {
            // The curves stay within the hull of their control points.
            self.plates
                .push(Area::around("cloud", &points(attribute(line, "d"))));
        } else if line.starts_with("<rect class=\"bus\"") {
            self.buses.push(Area::rect("bus", line));
        } else if line.starts_with("<rect class=\"group\"") {
            self.groups.push(Area::rect("group", line));
        } else if line.starts_with("<polyline") {
            let points = points(attribute(line, "points"));
            for pair in points.windows(2) {
                let mut area = Area::around("wire", pair);
                // A line has no area of its own.
                area.left -= 1.0;
                area.right += 1.0;
                self.wires.push(Wire {
                    colour: attribute(line, "stroke").to_owned(),
                    area,
                    end: *points.last().unwrap(),
                });
            }
        }
    }

    fn read_text(&mut self, line: &str, within: bool) {
        let body = line.split_once('>').unwrap().1;
        let runs: Vec<String> = body
            .split("<tspan")
            .map(|run| {
                let run = if body.contains("<tspan") {
                    run.split_once('>').map_or("", |r| r.1)
                } else {
                    run
                };
                plain(run)
            })
            .collect();
        let text: String = runs.concat();
        // How wide letters are, one with another, in parts of their size.
        let size = number(line, "font-size");
        let letters = f64::from(u32::try_from(text.chars().count()).unwrap());
        let width = letters
            * size
            * if line.contains("ui-monospace") {
                0.605
            } else {
                0.57
            };
        let (x, y) = (number(line, "x"), number(line, "y"));
        let left = if line.contains("text-anchor=\"middle\"") {
            x - width / 2.0
        } else {
            x
        };
        let area = Area::new(&text, left, y - size * 0.8, left + width, y + size * 0.2);
        self.texts.extend(runs);
        if within {
            self.inner.push(area);
        } else {
            self.labels.push(area);
        }
    }

    /// Whether a text is drawn, not merely described; a line break counts as what replaces it.
    pub(crate) fn shows(&self, text: &str) -> bool {
        self.texts.iter().any(|shown| shown == text)
    }

    /// The box with that name in it.
    pub(crate) fn plate(&self, name: &str) -> &Area {
        let text = self.inner.iter().find(|area| area.what == name).unwrap();
        self.plates.iter().find(|plate| plate.holds(text)).unwrap()
    }

    /// Whether every element that is opened is closed, and no character needed escaping.
    pub(crate) fn is_well_formed(&self) -> bool {
        let mut open: Vec<&str> = Vec::new();
        for part in self.source.split('<').skip(1) {
            let Some((tag, data)) = part.split_once('>') else {
                return false;
            };
            let name = tag.split([' ', '/']).find(|n| !n.is_empty()).unwrap_or("");
            if tag.starts_with('/') {
                if open.pop() != Some(name) {
                    return false;
                }
            } else if !tag.ends_with('/') {
                open.push(name);
            }
            let entities = ["lt;", "gt;", "amp;", "quot;", "#39;"];
            let all = data.split('&').skip(1).chain(tag.split('&').skip(1));
            if data.contains('>')
                || !all
                    .clone()
                    .all(|d| entities.iter().any(|e| d.starts_with(e)))
            {
                return false;
            }
        }
        open.is_empty()
    }
}
