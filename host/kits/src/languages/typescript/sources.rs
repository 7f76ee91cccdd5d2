//! Where the lines of a bundle come from, so that traces of what was thrown name the code that somebody wrote.

use serde_json::Value;

/// Lines of a bundle that come from as many lines of a file, one after the other; lines begin with 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lines {
    at: u32,
    from: u32,
    count: u32,
}

/// The statement that tells the kit, to be put behind everything else of a bundle. Only the project's own files are named; none: there is no
/// such file, or the map cannot be read.
pub(super) fn statement(map: &[u8]) -> Option<String> {
    let map: Value = serde_json::from_slice(map).ok()?;
    let lines = lines(map["mappings"].as_str()?)?;
    let files: Vec<Value> = map["sources"]
        .as_array()?
        .iter()
        .enumerate()
        .filter_map(|(source, path)| {
            // The bundle is in a directory of the project, where the kit is, too.
            let path = path.as_str()?.strip_prefix("../")?;
            let is_own = !path.starts_with("../") && !path.contains("node_modules/");
            let lines: Vec<[u32; 3]> = runs(&lines, source)
                .iter()
                .map(|run| [run.at, run.from, run.count])
                .collect();
            (is_own && !lines.is_empty()).then(|| serde_json::json!([path, lines]))
        })
        .collect();
    let files = (!files.is_empty()).then_some(Value::Array(files))?;
    Some(format!(
        "globalThis[Symbol.for(\"dacapo.sources\")] = {files};\n"
    ))
}

/// The source of each line of the bundle, by its number and its line, from 1: that of the first thing in the line.
fn lines(mappings: &str) -> Option<Vec<Option<(usize, u32)>>> {
    let (mut source, mut line) = (0_i64, 0_i64);
    let mut lines = Vec::new();
    for generated in mappings.split(';') {
        let mut first = None;
        for segment in generated.split(',').filter(|segment| !segment.is_empty()) {
            let fields = numbers(segment)?;
            // Each is said by its difference to the one before.
            if let [_, of, from, ..] = fields.as_slice() {
                source += of;
                line += from;
                let place = (usize::try_from(source).ok()?, u32::try_from(line + 1).ok()?);
                first.get_or_insert(place);
            }
        }
        lines.push(first);
    }
    Some(lines)
}

/// Numbers of variable length in base64, the sign in the last bit.
fn numbers(segment: &str) -> Option<Vec<i64>> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut numbers = Vec::new();
    let (mut value, mut shift) = (0_i64, 0);
    for letter in segment.bytes() {
        let digit = LETTERS.iter().position(|known| *known == letter)?;
        let digit = i64::try_from(digit).ok()?;
        value |= (digit & 31).checked_shl(shift)?;
        if digit & 32 != 0 {
            shift += 5;
            continue;
        }
        numbers.push(if value & 1 == 1 {
            -(value >> 1)
        } else {
            value >> 1
        });
        (value, shift) = (0, 0);
    }
    Some(numbers)
}

/// The lines that come from one source.
fn runs(lines: &[Option<(usize, u32)>], source: usize) -> Vec<Lines> {
    let mut runs: Vec<Lines> = Vec::new();
    for (at, line) in (1..).zip(lines) {
        let Some((_, from)) = line.filter(|(of, _)| *of == source) else {
            continue;
        };
        match runs.last_mut() {
            Some(run) if run.at + run.count == at && run.from + run.count == from => run.count += 1,
            _ => runs.push(Lines { at, from, count: 1 }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_source_maps_have_them() {
        assert_eq!(numbers("AAgBC"), Some(vec![0, 0, 16, 1]));
        assert_eq!(numbers("D"), Some(vec![-1]));
        assert_eq!(numbers("*"), None);
    }

    #[test]
    fn the_projects_own_lines_are_told_in_runs() {
        // Line 1 is the kit's, lines 2 and 3 are lines 5 and 6 of the code, line 4 is nobody's, and line 5 is its line 9.
        let map = serde_json::json!({
            "version": 3,
            "sources": ["guest-sdk/ts/src/index.ts", "../src/workflows.ts", "../node_modules/x/index.js"],
            "mappings": "AAAA;ACIA,GAAA;AACA;;AAGA;ACRA",
        });
        let said = statement(map.to_string().as_bytes()).unwrap();
        assert_eq!(
            said,
            "globalThis[Symbol.for(\"dacapo.sources\")] = [[\"src/workflows.ts\",[[2,5,2],[5,9,1]]]];\n"
        );
        assert_eq!(statement(b"{}"), None);
        let kit_alone = br#"{"sources": ["guest-sdk/ts/src/index.ts"], "mappings": "AAAA"}"#;
        assert_eq!(statement(kit_alone), None);
    }
}
