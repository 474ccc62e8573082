//! The compiled schema: from .proto files to descriptors.
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use prost::Message;
use prost_types::FileDescriptorSet;

/// Compiles every .proto file of a directory, with comments.
pub(super) fn compile(dir: &Path) -> Result<FileDescriptorSet> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            names.push(path);
        }
    }
    names.sort();
    let mut compiler = protox::Compiler::new([dir])?;
    compiler.include_source_info(true);
    compiler.open_files(names)?;
    Ok(compiler.file_descriptor_set())
}

/// The encoded descriptor set, without comments and positions: those would change it with every edit of a comment.
pub(super) fn descriptor(schema: &FileDescriptorSet) -> Vec<u8> {
    let mut bare = schema.clone();
    for file in &mut bare.file {
        file.source_code_info = None;
    }
    bare.encode_to_vec()
}
