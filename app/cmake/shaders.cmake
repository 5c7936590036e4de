# gs_add_shaders(target folder): every shader of a folder as SPIR-V words, for
#   static const uint32_t kCode[] =
#   #include "heatmap.frag.inc"
#   ;
# Built again when the shader or a file that it includes changes.
function(gs_add_shaders target folder)
  set(out_dir "${CMAKE_CURRENT_BINARY_DIR}/shaders")
  file(MAKE_DIRECTORY "${out_dir}")
  file(GLOB shaders CONFIGURE_DEPENDS "${folder}/*.vert" "${folder}/*.frag" "${folder}/*.comp")
  foreach(shader IN LISTS shaders)
    get_filename_component(name "${shader}" NAME)
    set(out "${out_dir}/${name}.inc")
    add_custom_command(OUTPUT "${out}" DEPENDS "${shader}" DEPFILE "${out}.d" VERBATIM COMMENT "Compiling shader ${name}"
      COMMAND Vulkan::glslc --target-env=vulkan1.2 -O -Werror -MD -MF "${out}.d" -mfmt=c -o "${out}" "${shader}")
    target_sources(${target} PRIVATE "${out}")
  endforeach()
  target_include_directories(${target} PRIVATE "${out_dir}")
endfunction()
