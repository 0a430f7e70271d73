//! Checks of composed modules. (being built)
