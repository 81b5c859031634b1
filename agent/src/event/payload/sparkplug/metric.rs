//! One metric: what it is called, of what type it is, and its value.

use std::sync::Arc;

use tidemill_values::{Map, Value};

use super::array::elements;
use super::data_type::DataType;
use super::wire::{Field, Fields};
use crate::event::payload::input::{Budget, Flaw, float, object};

/// Nesting depth of templates.
const TEMPLATES_MAX: usize = 16;

/// Numbers of fields of a metric.
pub(super) mod field {
    pub(in super::super) const NAME: u32 = 1;
    pub(in super::super) const ALIAS: u32 = 2;
    pub(in super::super) const TIMESTAMP: u32 = 3;
    pub(in super::super) const DATA_TYPE: u32 = 4;
    pub(in super::super) const IS_HISTORICAL: u32 = 5;
    pub(in super::super) const IS_TRANSIENT: u32 = 6;
    pub(in super::super) const IS_NULL: u32 = 7;
    pub(in super::super) const INT: u32 = 10;
    pub(in super::super) const LONG: u32 = 11;
    pub(in super::super) const FLOAT: u32 = 12;
    pub(in super::super) const DOUBLE: u32 = 13;
    pub(in super::super) const BOOLEAN: u32 = 14;
    pub(in super::super) const STRING: u32 = 15;
    pub(in super::super) const BYTES: u32 = 16;
    pub(in super::super) const DATA_SET: u32 = 17;
    pub(in super::super) const TEMPLATE: u32 = 18;
}

/// A metric as encoded in a message.
#[derive(Debug, Default)]
pub(super) struct Metric<'a> {
    at: usize,
    pub(super) name: Option<&'a str>,
    pub(super) alias: Option<u64>,
    pub(super) timestamp: Option<u64>,
    data_type: Option<DataType>,
    pub(super) historical: bool,
    pub(super) transient: bool,
    is_null: bool,
    /// The field that holds the value; of several the last.
    value: Option<Field<'a>>,
}

impl<'a> Metric<'a> {
    /// A metric, its value not looked at.
    pub(super) fn read(message: &Field<'a>) -> Result<Self, Flaw> {
        let mut metric = Self {
            at: message.whole.start,
            ..Self::default()
        };
        let mut fields = message.fields()?;
        while let Some(found) = fields.next()? {
            match found.number {
                field::NAME => metric.name = Some(found.text()?),
                field::ALIAS => metric.alias = Some(found.varint()?),
                field::TIMESTAMP => metric.timestamp = Some(found.varint()?),
                field::DATA_TYPE => metric.data_type = Some(DataType::numbered(found.varint()?)),
                field::IS_HISTORICAL => metric.historical = found.truth()?,
                field::IS_TRANSIENT => metric.transient = found.truth()?,
                field::IS_NULL => metric.is_null = found.truth()?,
                field::INT..=field::TEMPLATE => metric.value = Some(found),
                _ => {}
            }
        }
        // Some encoders write an empty name if there is none.
        metric.name = metric.name.filter(|name| !name.is_empty());
        Ok(metric)
    }

    /// Name of the metric.
    pub(super) fn named(&self) -> Result<&'a str, Flaw> {
        self.name.ok_or_else(|| {
            let why = match self.alias {
                Some(alias) => format!("a metric has alias {alias} and no name"),
                None => "a metric has neither name nor alias".to_owned(),
            };
            Flaw::new(self.at, why)
        })
    }

    /// Type of the value, if the message gives it.
    pub(super) fn data_type(&self) -> Option<DataType> {
        self.data_type.filter(|known| known.number() > 0)
    }

    /// The value; null if it is null, or of a kind that only an extension knows.
    pub(super) fn value(&self, budget: &mut Budget) -> Result<Value, Flaw> {
        self.value_at(budget, 0)
    }

    fn value_at(&self, budget: &mut Budget, depth: usize) -> Result<Value, Flaw> {
        budget.take(self.at, 1)?;
        let Some(found) = self.value.as_ref().filter(|_| !self.is_null) else {
            return Ok(Value::Null);
        };
        let data_type = self.data_type().unwrap_or(DataType::UNKNOWN);
        Ok(match found.number {
            field::INT | field::LONG => data_type.whole(found.varint()?),
            field::FLOAT => float(found.single()?.into()),
            field::DOUBLE => float(found.double()?),
            field::BOOLEAN => Value::Bool(found.truth()?),
            field::STRING => Value::text(found.text()?),
            field::BYTES => match elements(data_type, found, budget)? {
                Some(elements) => Value::list(elements),
                None => Value::bytes(found.bytes()?),
            },
            field::DATA_SET => data_set(found, budget)?,
            field::TEMPLATE => template(found, budget, depth)?,
            _ => Value::Null,
        })
    }
}

/// A table as a list of objects, one a row.
fn data_set(message: &Field<'_>, budget: &mut Budget) -> Result<Value, Flaw> {
    const COLUMN: u32 = 2;
    const TYPE: u32 = 3;
    const ROW: u32 = 4;
    let (mut columns, mut types): (Vec<Arc<str>>, Vec<DataType>) = (Vec::new(), Vec::new());
    let mut rows = Vec::new();
    let mut fields = message.fields()?;
    while let Some(found) = fields.next()? {
        match found.number {
            COLUMN => columns.push(found.text()?.into()),
            TYPE => types.extend(found.varints()?.into_iter().map(DataType::numbered)),
            ROW => rows.push(found),
            _ => {}
        }
        let many = columns.len() + types.len() + rows.len();
        if many > super::METRICS_MAX {
            let why = format!("a data set of more than {} parts", super::METRICS_MAX);
            return Err(Flaw::new(message.whole.start, why));
        }
    }
    let mut table = Vec::new();
    for row in rows {
        budget.take(row.whole.start, 1)?;
        let mut entries = Vec::new();
        let mut elements = row.fields()?;
        let mut place = 0;
        while let Some(element) = elements.next()? {
            let Some(column) = columns.get(place) else {
                let why = "a row of a data set has more elements than there are columns";
                return Err(Flaw::new(element.whole.start, why));
            };
            budget.take(element.whole.start, 1)?;
            let data_type = types.get(place).copied().unwrap_or(DataType::UNKNOWN);
            entries.push((column.clone(), simple(&element, data_type, 0)?));
            place += 1;
        }
        table.push(object(entries));
    }
    Ok(Value::list(table))
}

/// A value of a data set, or a parameter of a template, whose fields have numbers from `first` on.
fn simple(message: &Field<'_>, data_type: DataType, first: u32) -> Result<Value, Flaw> {
    let mut value = Value::Null;
    let mut fields = message.fields()?;
    while let Some(found) = fields.next()? {
        value = match found.number.checked_sub(first) {
            Some(1 | 2) => data_type.whole(found.varint()?),
            Some(3) => float(found.single()?.into()),
            Some(4) => float(found.double()?),
            Some(5) => Value::Bool(found.truth()?),
            Some(6) => Value::text(found.text()?),
            _ => continue,
        };
    }
    Ok(value)
}

/// An instance or a definition of a type as an object.
fn template(message: &Field<'_>, budget: &mut Budget, depth: usize) -> Result<Value, Flaw> {
    const VERSION: u32 = 1;
    const METRIC: u32 = 2;
    const PARAMETER: u32 = 3;
    const REFERENCE: u32 = 4;
    const IS_DEFINITION: u32 = 5;
    if depth >= TEMPLATES_MAX {
        let why = format!("more than {TEMPLATES_MAX} templates in each other");
        return Err(Flaw::new(message.whole.start, why));
    }
    let mut about = Map::new();
    let (mut metrics, mut parameters) = (Vec::new(), Vec::new());
    let mut fields: Fields<'_> = message.fields()?;
    while let Some(found) = fields.next()? {
        match found.number {
            VERSION => about.insert("version", Value::text(found.text()?)),
            REFERENCE => about.insert("template", Value::text(found.text()?)),
            IS_DEFINITION => about.insert("definition", Value::Bool(found.truth()?)),
            METRIC => {
                let metric = Metric::read(&found)?;
                let value = metric.value_at(budget, depth + 1)?;
                metrics.push((metric.named()?.into(), value));
            }
            PARAMETER => {
                budget.take(found.whole.start, 1)?;
                parameters.push(parameter(&found)?);
            }
            _ => {}
        }
    }
    about.insert("metrics", object(metrics));
    if !parameters.is_empty() {
        about.insert("parameters", object(parameters));
    }
    Ok(Value::map(about))
}

fn parameter(message: &Field<'_>) -> Result<(Arc<str>, Value), Flaw> {
    const NAME: u32 = 1;
    const TYPE: u32 = 2;
    let (mut name, mut data_type) = ("", DataType::UNKNOWN);
    let mut fields = message.fields()?;
    while let Some(found) = fields.next()? {
        match found.number {
            NAME => name = found.text()?,
            TYPE => data_type = DataType::numbered(found.varint()?),
            _ => {}
        }
    }
    Ok((name.into(), simple(message, data_type, 2)?))
}
