//! Messages by prost-build and stubs by tonic's generator, in memory.
use anyhow::Result;
use prost_build::Module;
use prost_types::{DescriptorProto, FileDescriptorSet};

use super::{Files, tables};

/// One Rust file per package.
pub(super) fn messages_and_stubs(schema: &FileDescriptorSet) -> Result<Files> {
    let stubs = tonic_prost_build::configure()
        .build_transport(false)
        .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"server\")]")
        .service_generator();
    let mut config = prost_build::Config::new();
    config.bytes(["."]).service_generator(stubs);
    config.skip_debug(tables::messages_with_secrets(schema));

    let files = schema.file.iter().cloned().map(|mut file| {
        file.message_type.iter_mut().for_each(respell_fields);
        (Module::from_protobuf_package_name(file.package()), file)
    });
    let modules = config.generate(files.collect())?;
    let name = |module: &Module| module.to_file_name_or("_");
    Ok(modules
        .into_iter()
        .map(|(module, code)| (name(&module), code.into_bytes()))
        .collect())
}

/// `peerURLs` would become `peer_ur_ls`: spell it so that it becomes `peer_urls`. The wire does not carry names.
fn respell_fields(message: &mut DescriptorProto) {
    for field in &mut message.field {
        field.name = field.name.take().map(|name| name.replace("URLs", "_urls"));
    }
    message.nested_type.iter_mut().for_each(respell_fields);
}
