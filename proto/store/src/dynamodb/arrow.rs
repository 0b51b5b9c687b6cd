//! One conditional write.

use super::{DynamoResultStore, item, unreachable};
use crate::record::Record;
use crate::result::StoreError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure as OnRefusal,
};
use item::Item;
use queuebridge_proto::{JobId, UnixMillis};
use std::collections::HashMap;

/// The key of a job's record.
pub(super) fn job_key(job: &JobId) -> AttributeValue {
    AttributeValue::S(format!("job#{}", job.uuid()))
}

/// An arrow of the state machine: when it may be taken, and what it changes.
///
/// `#name` in an expression is the attribute of that name, `:name` the value of
/// that name. DynamoDB refuses what is declared and not used, so names are
/// collected from the expressions.
#[derive(Debug)]
pub(super) struct Arrow {
    condition: &'static str,
    set: Vec<String>,
    add: Option<&'static str>,
    remove: &'static [&'static str],
    values: HashMap<String, AttributeValue>,
    returns: ReturnValue,
}

impl Arrow {
    pub(super) fn new(condition: &'static str) -> Self {
        let returns = ReturnValue::AllNew;
        let set = Vec::new();
        Self { condition, set, add: None, remove: &[], values: HashMap::new(), returns }
    }

    /// One that may always be taken.
    pub(super) fn always() -> Self {
        Self::new("")
    }

    /// Sets an attribute; in the condition too the value is called `:name`.
    pub(super) fn set(self, name: &str, value: AttributeValue) -> Self {
        self.set_to(&format!("#{name} = :{name}")).with(name, value)
    }

    /// Sets an attribute in the words of DynamoDB.
    pub(super) fn set_to(mut self, clause: &str) -> Self {
        self.set.push(clause.to_owned());
        self
    }

    /// Sets an attribute unless it is there.
    pub(super) fn set_once(self, name: &str, value: AttributeValue) -> Self {
        self.set_to(&format!("#{name} = if_not_exists(#{name}, :{name})")).with(name, value)
    }

    /// Counts an attribute up, from 0.
    pub(super) fn add_one(self, name: &str) -> Self {
        self.set_to(&format!("#{name} = if_not_exists(#{name}, :zero) + :one"))
            .with("zero", item::number(0))
            .with("one", item::number(1))
    }

    /// Adds a number to a set of numbers.
    pub(super) fn add_to(mut self, name: &'static str, number: u64) -> Self {
        self.add = Some(name);
        self.with(name, AttributeValue::Ns(vec![number.to_string()]))
    }

    /// Takes attributes away.
    pub(super) fn remove(mut self, names: &'static [&'static str]) -> Self {
        self.remove = names;
        self
    }

    /// Leaves the new item out of the answer, because its writer knows it.
    pub(super) fn silent(mut self) -> Self {
        self.returns = ReturnValue::None;
        self
    }

    /// Gives a value that the expressions use.
    pub(super) fn with(mut self, name: &str, value: AttributeValue) -> Self {
        self.values.insert(format!(":{name}"), value);
        self
    }

    /// Writes down what is known about the job: whoever comes first, and by
    /// cancelling or expiring it may not know the method.
    pub(super) fn describing(self, job: &JobId, method: &str, rests_until: UnixMillis) -> Self {
        let arrow = self
            .set("expires", item::time(job.expires_at()))
            .set("retention", item::number(job.retention().as_secs()))
            .set("ttl", item::number(rests_until.ceil_secs()));
        if method.is_empty() {
            return arrow;
        }
        arrow.set_once("method", AttributeValue::S(method.to_owned()))
    }

    /// Takes the arrow, and returns the new item (empty if silent); or, if it was refused, the
    /// record that refused it.
    pub(super) async fn write(
        self,
        store: &DynamoResultStore,
        key: AttributeValue,
    ) -> Result<Result<Item, Record>, StoreError> {
        match self.write_item(store, key).await? {
            Ok(written) => Ok(Ok(written)),
            Err(None) => Ok(Err(Record::new(""))),
            Err(Some(found)) => Ok(Err(item::record(&found)?)),
        }
    }

    /// Takes the arrow, and returns the new item (empty if silent); or, if it was refused, the
    /// item that refused it, if there is one.
    pub(super) async fn write_item(
        self,
        store: &DynamoResultStore,
        key: AttributeValue,
    ) -> Result<Result<Item, Option<Item>>, StoreError> {
        let mut update = format!("SET {}", self.set.join(", "));
        for (index, name) in self.remove.iter().enumerate() {
            update.push_str(if index == 0 { " REMOVE #" } else { ", #" });
            update.push_str(name);
        }
        if let Some(name) = self.add {
            update.push_str(&format!(" ADD #{name} :{name}"));
        }
        let names = names([self.condition, &update]);
        let call = store
            .client
            .update_item()
            .table_name(&store.table)
            .key(item::PK, key.clone())
            .set_condition_expression(Some(self.condition.to_owned()).filter(|c| !c.is_empty()))
            .update_expression(update)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(self.values))
            .return_values(self.returns)
            .return_values_on_condition_check_failure(OnRefusal::AllOld);
        match call.send().await {
            Ok(output) => Ok(Ok(output.attributes.unwrap_or_default())),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    match refused.item.clone() {
                        Some(found) => Ok(Err(Some(found))),
                        // There is none, or the endpoint is one of those that do not
                        // hand it out with the refusal.
                        None => Ok(Err(store.read_item(key).await?)),
                    }
                }
                _ => Err(unreachable(error)),
            },
        }
    }
}

/// `#name` -> `name` for every name in the expressions.
fn names(expressions: [&str; 2]) -> HashMap<String, String> {
    let parts = expressions.into_iter().flat_map(|text| text.split('#').skip(1));
    let end = |part: &str| part.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(part.len());
    parts.map(|part| &part[..end(part)]).map(|name| (format!("#{name}"), name.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_collected_once_from_both_expressions() {
        let names = names(["#state = :a AND (#lease<=:now)", "SET #state = :b REMOVE #token"]);
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort();
        let pair = |name: &str| (format!("#{name}"), name.to_owned());
        assert_eq!(names, [pair("lease"), pair("state"), pair("token")]);
    }
}
