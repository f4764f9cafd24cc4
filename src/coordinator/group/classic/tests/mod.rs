//! Behaviours that are no story of one group: properties, bounds.
