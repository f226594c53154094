# Files inside the compiler: objects that go into every library, and headers beside them.
set(MATTEC_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_DIR}/embed.cmake)

# mattec_embed(namespace name input dependency): ${CMAKE_CURRENT_BINARY_DIR}/<name>.cpp holds the
# file's bytes as mattec::<namespace>::<name>_bytes and <name>_size.
function(mattec_embed namespace name input dependency)
  add_custom_command(
    OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp
    COMMAND ${CMAKE_COMMAND} -DINPUT=${input} -DNAME=${name} -DNAMESPACE=${namespace}
            -DOUTPUT=${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp -P ${MATTEC_EMBED_SCRIPT}
    DEPENDS ${dependency} ${input} ${MATTEC_EMBED_SCRIPT}
    VERBATIM)
endfunction()

# Writes embedded_objects.inc, a line MATTEC_OBJECT(name) for each name, and sets `sources` to the
# files of mattec_embed.
function(mattec_list_embedded sources)
  list(TRANSFORM ARGN REPLACE "(.+)" "MATTEC_OBJECT(\\1)\n" OUTPUT_VARIABLE lines)
  string(JOIN "" lines ${lines})
  file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/embedded_objects.inc CONTENT "${lines}" @ONLY)
  list(TRANSFORM ARGN REPLACE "(.+)" "${CMAKE_CURRENT_BINARY_DIR}/\\1.cpp"
       OUTPUT_VARIABLE files)
  set(${sources} ${files} PARENT_SCOPE)
endfunction()
