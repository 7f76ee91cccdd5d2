//! Debug sections as compilers write them (DWARF), read to find a few places. Whoever deploys a component may have written anything into
//! them, so nothing is believed, and the work has an end: each thing that is looked at costs as much as it takes.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use gimli::{
    Abbreviations, Attribute, AttributeValue, DebugAbbrev, DebugInfoOffset, EndianSlice,
    LittleEndian, Section, SectionId, Unit, UnitHeader, UnitOffset, constants,
};
use wasmparser::{Encoding, Parser, Payload};

use super::path;

/// Entries, attributes and bytes that are looked at for one backtrace: those of an interpreter with all its debug information, and about a
/// second of a core.
const WORK_MAX: u64 = 100_000_000;

/// Units, bytes of abbreviations, and bytes of one unit's line program and of its header: what is read of them takes many times their size in
/// memory. Compilers write a tenth.
const UNITS_MAX: usize = 100_000;
const ABBREVIATIONS_MAX_BYTES: usize = 4 << 20;
const LINE_PROGRAM_MAX_BYTES: usize = 8 << 20;
const LINE_HEADER_MAX_BYTES: usize = 1 << 20;

/// Functions at one place in the code, one inlined into the other.
const DEPTH_MAX: usize = 64;

/// Entries that name each other until one has a name.
const NAMED_BY_MAX: usize = 4;

/// Of a name or a path, no more is read.
const TEXT_MAX_BYTES: usize = 4_096;

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// A function that was running, and where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// As it is in the debug sections. None for a function that was not inlined.
    pub(crate) function: Option<String>,
    /// `file:line`
    pub(crate) at: Option<String>,
}

/// What there is at these offsets in a component: the innermost function first, the one that is not inlined last. An offset that nothing is
/// known of is not there.
pub(super) fn places(component: &[u8], offsets: &[u64]) -> HashMap<u64, Vec<Place>> {
    let mut found = HashMap::new();
    let mut work = Work(WORK_MAX);
    for module in modules(component) {
        let start = module.code.start;
        let wanted: Vec<u64> = offsets
            .iter()
            .filter(|offset| module.code.contains(offset))
            .map(|offset| offset - start)
            .collect();
        if wanted.is_empty() {
            continue;
        }
        let mut reader = Reader::new(&module, &mut work);
        // What was found before it came to something that it cannot read is good.
        let _ = reader.read(wanted);
        let places = reader.found.into_iter();
        found.extend(places.map(|(address, places)| (address + start, places)));
    }
    found
}

/// What is left of the work that may be done.
struct Work(u64);

impl Work {
    /// None: it is used up.
    fn spend(&mut self, amount: usize) -> Option<()> {
        let left = self.0.checked_sub(amount as u64 + 1);
        self.0 = left.unwrap_or(0);
        left.map(|_| ())
    }
}

/// A core module within a component.
#[derive(Default)]
struct Module<'a> {
    /// Offsets of its code within the component.
    code: Range<u64>,
    debug: HashMap<&'a str, &'a [u8]>,
}

fn modules(component: &[u8]) -> Vec<Module<'_>> {
    let mut open: Vec<Option<Module<'_>>> = Vec::new();
    let mut modules = Vec::new();
    for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
        match payload {
            Payload::Version { encoding, .. } => {
                open.push((encoding == Encoding::Module).then(Module::default));
            }
            Payload::CodeSectionStart { range, .. } => {
                if let Some(Some(module)) = open.last_mut() {
                    module.code = range.start as u64..range.end as u64;
                }
            }
            Payload::CustomSection(section) => {
                if let Some(Some(module)) = open.last_mut()
                    && section.name().starts_with(".debug_")
                {
                    module.debug.insert(section.name(), section.data());
                }
            }
            Payload::End(_) => modules.extend(open.pop().flatten()),
            _ => {}
        }
    }
    modules
}

/// A function that an address belongs to.
struct Scope<'a> {
    unit: usize,
    name: Named<'a>,
    call_file: u64,
    call_line: u64,
}

/// How an entry is named: by a name of its own, or by another entry.
#[derive(Default)]
struct Named<'a> {
    linkage_name: Option<AttributeValue<Bytes<'a>>>,
    name: Option<AttributeValue<Bytes<'a>>>,
    origin: Option<AttributeValue<Bytes<'a>>>,
}

impl<'a> Named<'a> {
    fn note(&mut self, attribute: &Attribute<Bytes<'a>>) {
        let field = match attribute.name() {
            constants::DW_AT_linkage_name | constants::DW_AT_MIPS_linkage_name => {
                &mut self.linkage_name
            }
            constants::DW_AT_name => &mut self.name,
            constants::DW_AT_abstract_origin | constants::DW_AT_specification => &mut self.origin,
            _ => return,
        };
        *field = Some(attribute.value());
    }
}

/// One reading of a module's debug sections.
struct Reader<'a, 'w> {
    dwarf: gimli::Dwarf<Bytes<'a>>,
    abbrev: &'a [u8],
    work: &'w mut Work,
    headers: Vec<UnitHeader<Bytes<'a>>>,
    /// Where tables of abbreviations begin. Each is taken to end where the next one begins, or reading them could take for ever.
    tables: Vec<usize>,
    abbreviations: BTreeMap<usize, Arc<Abbreviations>>,
    found: HashMap<u64, Vec<Place>>,
}

impl<'a, 'w> Reader<'a, 'w> {
    fn new(module: &Module<'a>, work: &'w mut Work) -> Reader<'a, 'w> {
        let data = |name: &str| module.debug.get(name).copied().unwrap_or_default();
        let section = |id: SectionId| EndianSlice::new(data(id.name()), LittleEndian);
        Reader {
            dwarf: gimli::DwarfSections::load(|id| Ok::<_, ()>(section(id)))
                .map(|sections| sections.borrow(|section| *section))
                .unwrap_or_default(),
            abbrev: first(data(SectionId::DebugAbbrev.name()), ABBREVIATIONS_MAX_BYTES),
            work,
            headers: Vec::new(),
            tables: Vec::new(),
            abbreviations: BTreeMap::new(),
            found: HashMap::new(),
        }
    }

    /// None: the work is used up.
    fn read(&mut self, mut wanted: Vec<u64>) -> Option<()> {
        let mut headers = self.dwarf.units();
        while let Ok(Some(header)) = headers.next() {
            self.work.spend(1)?;
            if self.headers.len() == UNITS_MAX {
                break;
            }
            self.tables.push(header.debug_abbrev_offset().0);
            self.headers.push(header);
        }
        self.tables.sort_unstable();
        self.tables.dedup();
        for index in 0..self.headers.len() {
            if wanted.is_empty() {
                break;
            }
            // Another unit may be in order.
            let Some(unit) = self.unit(index) else {
                self.work.spend(0)?;
                continue;
            };
            let here = self.covered(&unit, &wanted)?;
            if here.is_empty() {
                continue;
            }
            let scopes = self.scopes(index, &unit, &here)?;
            self.add_places(&unit, &here, scopes)?;
            wanted.retain(|address| !self.found.contains_key(address));
        }
        Some(())
    }

    fn unit(&mut self, index: usize) -> Option<Unit<Bytes<'a>>> {
        let header = *self.headers.get(index)?;
        let abbreviations = self.abbreviations(&header)?;
        let mut entries = header.entries_raw(&abbreviations, None).ok()?;
        let specs = entries.read_abbreviation().ok()??.attributes();
        // These attributes are read three times.
        self.work.spend(3 * specs.len())?;
        for spec in specs {
            let attribute = entries.read_attribute(*spec).ok()?;
            if let AttributeValue::DebugLineRef(offset) = attribute.value() {
                let length = self.line_header_length(offset.0)?;
                self.work.spend(length)?;
                if length > LINE_HEADER_MAX_BYTES {
                    return None;
                }
            }
        }
        let unit = Unit::new_with_abbreviations(&self.dwarf, header, abbreviations).ok()?;
        Some(unit)
    }

    /// How long the header of a line program is, before it is read as a whole. None: that cannot be told.
    fn line_header_length(&self, offset: usize) -> Option<usize> {
        let section = self.dwarf.debug_line.reader().slice().get(offset..)?;
        let (length, rest) = section.split_first_chunk()?;
        let (version, rest) = rest.split_first_chunk()?;
        // That much would be another format, of which wasm32 has no need.
        if u32::from_le_bytes(*length) >= 0xffff_fff0 {
            return None;
        }
        let rest = match u16::from_le_bytes(*version) {
            0..=4 => rest,
            // The sizes of addresses and segments.
            _ => rest.get(2..)?,
        };
        let (length, _) = rest.split_first_chunk()?;
        usize::try_from(u32::from_le_bytes(*length)).ok()
    }

    fn abbreviations(&mut self, header: &UnitHeader<Bytes<'a>>) -> Option<Arc<Abbreviations>> {
        let start = header.debug_abbrev_offset();
        if let Some(abbreviations) = self.abbreviations.get(&start.0) {
            return Some(Arc::clone(abbreviations));
        }
        let next = self.tables.partition_point(|table| *table <= start.0);
        let end = self.tables.get(next).copied().unwrap_or(usize::MAX);
        let table = self.abbrev.get(..end.min(self.abbrev.len()))?;
        self.work.spend(table.len().saturating_sub(start.0))?;
        let abbreviations = DebugAbbrev::new(table, LittleEndian).abbreviations(start);
        let abbreviations = Arc::new(abbreviations.unwrap_or_default());
        self.abbreviations
            .insert(start.0, Arc::clone(&abbreviations));
        Some(abbreviations)
    }

    /// Which of these addresses belong to the unit.
    fn covered(&mut self, unit: &Unit<Bytes<'a>>, wanted: &[u64]) -> Option<Vec<u64>> {
        let mut covered = Vec::new();
        if let Ok(mut ranges) = self.dwarf.unit_ranges(unit) {
            while let Ok(Some(range)) = ranges.next() {
                self.work.spend(wanted.len())?;
                let inside = range.begin..range.end;
                covered.extend(wanted.iter().filter(|address| inside.contains(address)));
            }
        }
        covered.sort_unstable();
        covered.dedup();
        Some(covered)
    }

    /// The functions that each address belongs to, the outermost first.
    fn scopes(
        &mut self,
        index: usize,
        unit: &Unit<Bytes<'a>>,
        here: &[u64],
    ) -> Option<HashMap<u64, Vec<Scope<'a>>>> {
        let mut scopes: HashMap<u64, Vec<Scope<'a>>> = HashMap::new();
        let Ok(mut entries) = unit.entries_raw(None) else {
            return Some(scopes);
        };
        let mut attributes = Vec::new();
        while !entries.is_empty() {
            self.work.spend(1)?;
            let Ok(abbreviation) = entries.read_abbreviation() else {
                break;
            };
            let Some(abbreviation) = abbreviation else {
                continue;
            };
            let specs = abbreviation.attributes();
            self.work.spend(specs.len())?;
            let is_inlined = abbreviation.tag() == constants::DW_TAG_inlined_subroutine;
            if !is_inlined && abbreviation.tag() != constants::DW_TAG_subprogram {
                if entries.skip_attributes(specs).is_err() {
                    break;
                }
                continue;
            }
            if entries.read_attributes(specs, &mut attributes).is_err() {
                break;
            }
            let inside = self.inside(unit, &attributes, here)?;
            for address in inside {
                let scopes = scopes.entry(address).or_default();
                if !is_inlined {
                    // A function within a function is one of its own.
                    scopes.clear();
                }
                if scopes.len() < DEPTH_MAX {
                    scopes.push(scope(index, &attributes));
                }
            }
        }
        Some(scopes)
    }

    /// Which of these addresses are in the ranges that an entry's attributes name.
    fn inside(
        &mut self,
        unit: &Unit<Bytes<'a>>,
        attributes: &[Attribute<Bytes<'a>>],
        here: &[u64],
    ) -> Option<Vec<u64>> {
        let (mut low, mut high, mut inside) = (None, None, Vec::new());
        let contains = |begin: u64, end: u64| {
            let contained = here.iter().filter(move |at| (begin..end).contains(at));
            contained.copied()
        };
        for attribute in attributes {
            let value = attribute.value();
            match attribute.name() {
                constants::DW_AT_low_pc => {
                    low = self.dwarf.attr_address(unit, value).ok().flatten()
                }
                constants::DW_AT_high_pc => high = Some(value),
                constants::DW_AT_ranges => {
                    let Ok(Some(mut ranges)) = self.dwarf.attr_ranges(unit, value) else {
                        continue;
                    };
                    while let Ok(Some(range)) = ranges.next() {
                        self.work.spend(here.len())?;
                        inside.extend(contains(range.begin, range.end));
                    }
                }
                _ => {}
            }
        }
        if let (Some(low), Some(high)) = (low, high) {
            self.work.spend(here.len())?;
            let high = match high.udata_value() {
                Some(size) => low.checked_add(size),
                None => self.dwarf.attr_address(unit, high).ok().flatten(),
            };
            inside.extend(high.into_iter().flat_map(|high| contains(low, high)));
        }
        inside.sort_unstable();
        inside.dedup();
        Some(inside)
    }

    fn add_places(
        &mut self,
        unit: &Unit<Bytes<'a>>,
        here: &[u64],
        mut scopes: HashMap<u64, Vec<Scope<'a>>>,
    ) -> Option<()> {
        let rows = self.rows(unit, here)?;
        for address in here {
            let scopes = scopes.remove(address).unwrap_or_default();
            let mut places = Vec::new();
            let mut at = rows
                .get(address)
                .and_then(|(file, line)| self.at(unit, *file, *line));
            // From the inside out: where an inlined function was called is where the one around it was.
            for scope in scopes.get(1..).unwrap_or_default().iter().rev() {
                places.push(Place {
                    function: self.name(scope.unit, &scope.name),
                    at,
                });
                at = self.at(unit, scope.call_file, scope.call_line);
            }
            places.push(Place { function: None, at });
            if places.iter().any(|place| place.at.is_some()) {
                self.found.insert(*address, places);
            }
        }
        Some(())
    }

    /// File and line of each address, as the unit's line program has them.
    fn rows(&mut self, unit: &Unit<Bytes<'a>>, here: &[u64]) -> Option<HashMap<u64, (u64, u64)>> {
        let mut found = HashMap::new();
        let Some(program) = unit.line_program.clone() else {
            return Some(found);
        };
        let bytes = program.header().raw_program_buf().len();
        self.work.spend(bytes)?;
        if bytes > LINE_PROGRAM_MAX_BYTES {
            return Some(found);
        }
        let mut rows = program.rows();
        let mut last: Option<(u64, u64, u64)> = None;
        while let Ok(Some((_, row))) = rows.next_row() {
            self.work.spend(here.len())?;
            if let Some((address, file, line)) = last {
                let inside = here
                    .iter()
                    .filter(|at| (address..row.address()).contains(at));
                found.extend(inside.map(|at| (*at, (file, line))));
            }
            let line = row.line().map_or(0, |line| line.get());
            last = (!row.end_sequence()).then(|| (row.address(), row.file_index(), line));
        }
        Some(found)
    }

    /// `file:line`. There is no line 0.
    fn at(&self, unit: &Unit<Bytes<'a>>, file: u64, line: u64) -> Option<String> {
        let header = unit.line_program.as_ref()?.header();
        let file = header.file(file)?;
        let text = |value| {
            let text = self.dwarf.attr_string(unit, value).ok()?;
            Some(String::from_utf8_lossy(first(text.slice(), TEXT_MAX_BYTES)).into_owned())
        };
        let directory = match file.directory_index() {
            // Where it was compiled.
            0 => None,
            _ => file.directory(header).and_then(text),
        };
        let compiled_in = header.directory(0).and_then(text).unwrap_or_default();
        let name = text(file.path_name())?;
        let path = path::short(&compiled_in, &directory.unwrap_or_default(), &name);
        (line > 0 && !path.is_empty()).then(|| format!("{path}:{line}"))
    }

    /// The name of a function, in whichever entry it is.
    fn name(&mut self, unit: usize, named: &Named<'a>) -> Option<String> {
        let mut index = unit;
        let mut unit = self.unit(index)?;
        let mut origin = named.origin;
        let mut own = named.linkage_name.or(named.name);
        for _ in 0..NAMED_BY_MAX {
            if let Some(value) = own {
                let name = self.dwarf.attr_string(&unit, value).ok()?;
                let name = first(name.slice(), TEXT_MAX_BYTES);
                return Some(String::from_utf8_lossy(name).into_owned());
            }
            let offset = match origin? {
                AttributeValue::UnitRef(offset) => offset,
                AttributeValue::DebugInfoRef(offset) => {
                    let (other, offset) = self.locate(offset)?;
                    if other != index {
                        index = other;
                        unit = self.unit(index)?;
                    }
                    offset
                }
                _ => return None,
            };
            let mut entries = unit.entries_raw(Some(offset)).ok()?;
            let specs = entries.read_abbreviation().ok()??.attributes();
            self.work.spend(specs.len())?;
            let mut named = Named::default();
            for spec in specs {
                named.note(&entries.read_attribute(*spec).ok()?);
            }
            own = named.linkage_name.or(named.name);
            origin = named.origin;
        }
        None
    }

    /// The unit that an offset lies in, and where in it.
    fn locate(&self, offset: DebugInfoOffset) -> Option<(usize, UnitOffset)> {
        let behind = self.headers.partition_point(|header| {
            header
                .debug_info_offset()
                .is_none_or(|start| start.0 <= offset.0)
        });
        let index = behind.checked_sub(1)?;
        Some((index, offset.to_unit_offset(self.headers.get(index)?)?))
    }
}

fn first(bytes: &[u8], max: usize) -> &[u8] {
    bytes.get(..max).unwrap_or(bytes)
}

fn scope<'a>(unit: usize, attributes: &[Attribute<Bytes<'a>>]) -> Scope<'a> {
    let mut scope = Scope {
        unit,
        name: Named::default(),
        call_file: 0,
        call_line: 0,
    };
    for attribute in attributes {
        match attribute.name() {
            constants::DW_AT_call_file => {
                scope.call_file = match attribute.value() {
                    AttributeValue::FileIndex(file) => file,
                    value => value.udata_value().unwrap_or(0),
                };
            }
            constants::DW_AT_call_line => {
                scope.call_line = attribute.udata_value().unwrap_or(0);
            }
            _ => scope.name.note(attribute),
        }
    }
    scope
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leb(mut value: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let low = (value & 0x7f) as u8;
            value >>= 7;
            if value == 0 {
                bytes.push(low);
                return bytes;
            }
            bytes.push(low | 0x80);
        }
    }

    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        [&[id], leb(content.len()).as_slice(), content].concat()
    }

    /// A module with one function of 100 bytes, and these debug sections.
    fn module(sections: &[(&str, &[u8])]) -> Vec<u8> {
        let body = [&[0], [0x01; 98].as_slice(), &[0x0b]].concat();
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        module.extend(section(1, &[1, 0x60, 0, 0]));
        module.extend(section(3, &[1, 0]));
        module.extend(section(10, &[&[1, 100], body.as_slice()].concat()));
        for (name, content) in sections {
            let named = [&leb(name.len()), name.as_bytes(), content].concat();
            module.extend(section(0, &named));
        }
        module
    }

    /// Units that cover the whole function, each with the line program at 0.
    fn units(count: usize) -> Vec<u8> {
        let mut unit = vec![20, 0, 0, 0, 4, 0, 0, 0, 0, 0, 4];
        unit.extend([1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        unit.repeat(count)
    }

    /// A unit with its first address, its size, and where its line program is.
    const ABBREV: &[u8] = &[1, 0x11, 0, 0x11, 0x01, 0x12, 0x06, 0x10, 0x17, 0, 0, 0];

    fn line_program(program: &[u8]) -> Vec<u8> {
        let tables = [
            &[1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1, 0][..],
            b"a.rs\0\0\0\0\0",
        ]
        .concat();
        let mut bytes = ((6 + tables.len() + program.len()) as u32)
            .to_le_bytes()
            .to_vec();
        bytes.extend([4, 0]);
        bytes.extend((tables.len() as u32).to_le_bytes());
        bytes.extend(tables);
        bytes.extend(program);
        bytes
    }

    fn read(sections: &[(&str, &[u8])], address: u64) -> HashMap<u64, Vec<Place>> {
        let module = module(sections);
        let code = modules(&module)[0].code.start;
        places(&module, &[code + address])
    }

    #[test]
    fn a_line_is_found_where_its_program_has_it() {
        // A row at 0, one 50 bytes and 6 lines on, and the end.
        let program = line_program(&[1, 2, 50, 3, 6, 1, 2, 50, 0, 1, 1]);
        let sections = [
            (".debug_info", &units(1)[..]),
            (".debug_abbrev", ABBREV),
            (".debug_line", &program),
        ];
        for (address, line) in [(0, Some(1)), (49, Some(1)), (50, Some(7)), (100, None)] {
            let found = read(&sections, address);
            let at = found
                .into_values()
                .next()
                .and_then(|places| places[0].at.clone());
            assert_eq!(at, line.map(|line| format!("a.rs:{line}")), "{address}");
        }
    }

    #[test]
    fn the_work_has_an_end_however_often_sections_want_the_same_done() {
        // Rows without end at one address: a look at each for each unit would take hours.
        let rows = line_program(&vec![1; 4 << 20]);
        let sections = [
            (".debug_info", &units(90_000)[..]),
            (".debug_abbrev", ABBREV),
            (".debug_line", &rows),
        ];
        assert_eq!(read(&sections, 50), HashMap::new());

        // A table of abbreviations that is as long, of which each unit begins to read at a place of its own.
        let mut table = ABBREV[..ABBREV.len() - 1].to_vec();
        let tag = |code: usize| [leb(code).as_slice(), &[0x2e, 0, 0, 0]].concat();
        table.extend((2..500_000).flat_map(tag));
        let mut info = units(90_000);
        for (at, unit) in info.chunks_mut(24).enumerate() {
            unit[6..10].copy_from_slice(&(at as u32).to_le_bytes());
        }
        let sections = [
            (".debug_info", &info[..]),
            (".debug_abbrev", &table),
            (".debug_line", &rows),
        ];
        assert_eq!(read(&sections, 50), HashMap::new());
    }
}
