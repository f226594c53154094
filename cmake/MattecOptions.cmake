# Language level, warnings and sanitizers for every target of the project.
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Release, Debug, RelWithDebInfo" FORCE)
endif()
find_program(CCACHE ccache)
if(CCACHE)
  # Without these words it keeps no object that was made with a precompiled header.
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
endif()

# Most of it is glue between LibTorch, Halide and FFmpeg, made of large templates: at -O3 it takes a
# third longer to compile and is no faster. What computes itself asks for more: mattec_computes.
set(CMAKE_CXX_FLAGS_RELEASE "-O1 -DNDEBUG")
set(MATTEC_SANITIZE OFF CACHE STRING
    "Sanitizers to build with: address (and undefined behaviour), thread, fuzzer (libFuzzer), or OFF")
# Lines in reports are all that is wanted of debug information. At -O1 what the sanitizers add takes
# twice as long to compile, which is more than most tests then save; fuzzing runs for longer.
if(MATTEC_SANITIZE)
  set(level -O0)
  if(MATTEC_SANITIZE STREQUAL fuzzer)
    set(level -O1)
  endif()
  set(CMAKE_C_FLAGS_RELWITHDEBINFO "${level} -g1")
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "${level} -g1")
endif()

# mattec_library(name sources...): static library mattec_<name> with alias mattec::<name>, whose
# headers are included as "<folder>/<file>.h".
function(mattec_library name)
  add_library(mattec_${name} STATIC ${ARGN})
  add_library(mattec::${name} ALIAS mattec_${name})
  target_include_directories(mattec_${name} PUBLIC ${PROJECT_SOURCE_DIR})
  mattec_compile_options(mattec_${name})
endfunction()

# Warnings are errors. -ffp-contract=off: the numerics forbid fused multiply-add (docs/numerics.md).
function(mattec_compile_options target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Werror -ffp-contract=off)
  if(MATTEC_SANITIZE)
    set(sanitizers ${MATTEC_SANITIZE})
    if(MATTEC_SANITIZE STREQUAL address)
      set(sanitizers address,undefined)
    elseif(MATTEC_SANITIZE STREQUAL fuzzer)
      set(sanitizers address,undefined)
      target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
    endif()
    target_compile_options(${target} PRIVATE -fsanitize=${sanitizers} -fno-sanitize-recover=all
                                             -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC -fsanitize=${sanitizers})
  endif()
endfunction()

# mattec_computes(target [file...]): its loops, or those of these files, run for long without help of a
# library. Not for files with precompiled headers: g++ 12 crashes where the levels differ.
function(mattec_computes target)
  set(level $<$<CONFIG:Release>:-O3>)
  if(MATTEC_SANITIZE)
    set(level -O1)
  endif()
  if(ARGN)
    set_source_files_properties(${ARGN} PROPERTIES COMPILE_OPTIONS ${level})
  else()
    target_compile_options(${target} PRIVATE ${level})
  endif()
endfunction()

# mattec_precompiled(target name HEADERS header... LIBRARIES target...): the target's sources include
# the headers, which are compiled once for all targets that give the same name. (g++ 12 generates
# what a precompiled header instantiates anew in every file, so a list holds only what all files
# want: 4.2 s per file with torch/script.h, 2.0 s without.)
function(mattec_precompiled target name)
  cmake_parse_arguments(ARG "" "" "HEADERS;LIBRARIES" ${ARGN})
  set(headers mattec_${name}_headers)
  if(NOT TARGET ${headers})
    file(WRITE ${CMAKE_BINARY_DIR}/nothing.cpp "")
    add_library(${headers} OBJECT ${CMAKE_BINARY_DIR}/nothing.cpp)
    mattec_compile_options(${headers})
    target_link_libraries(${headers} PRIVATE ${ARG_LIBRARIES})
    target_precompile_headers(${headers} PRIVATE ${ARG_HEADERS})
  endif()
  target_precompile_headers(${target} REUSE_FROM ${headers})
endfunction()

# mattec_use_torch(target PUBLIC|PRIVATE [SCRIPT | GTEST]): links LibTorch. Its headers take 18 s of each file
# that includes them (g++ 12, one Xeon core), so they are compiled once. That wants the same flags
# everywhere, OpenMP's too: at::parallel_for is a template that runs on one thread without it.
# SCRIPT: TorchScript's headers, too. GTEST: GoogleTest's.
function(mattec_use_torch target scope)
  target_link_libraries(${target} ${scope} ${TORCH_LIBRARIES} PRIVATE OpenMP::OpenMP_CXX)
  set(libraries ${TORCH_LIBRARIES} OpenMP::OpenMP_CXX)
  if("SCRIPT" IN_LIST ARGN)
    mattec_precompiled(${target} script LIBRARIES ${libraries} HEADERS <torch/script.h>)
    return()
  endif()
  set(headers <torch/types.h> <torch/utils.h> <ATen/CPUGeneratorImpl.h> <ATen/Parallel.h>)
  if("GTEST" IN_LIST ARGN)
    mattec_precompiled(${target} torch_gtest LIBRARIES ${libraries} GTest::gtest
                       HEADERS ${headers} <gtest/gtest.h>)
  else()
    mattec_precompiled(${target} torch LIBRARIES ${libraries} HEADERS ${headers})
  endif()
endfunction()

# mattec_test(name [TORCH | SCRIPT] LABELS label... SOURCES file... LIBRARIES target...): one
# GoogleTest program, each of its suites a test of ctest called <name>.<suite>. (By cases it would
# start 800 processes, and LibTorch takes 0.5 s to start.) TORCH, SCRIPT: its sources include LibTorch
# or TorchScript. MATTEC_SHARED is where real weights and clips may lie (see README).
function(mattec_test name)
  cmake_parse_arguments(ARG "TORCH;SCRIPT" "" "LABELS;SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  mattec_compile_options(${name})
  if(ARG_TORCH)
    mattec_use_torch(${name} PRIVATE GTEST)
  elseif(ARG_SCRIPT)
    mattec_use_torch(${name} PRIVATE SCRIPT)
  else()
    mattec_precompiled(${name} gtest LIBRARIES GTest::gtest HEADERS <gtest/gtest.h> <filesystem>)
  endif()
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(${name} PRIVATE MATTEC_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES} GTest::gtest GTest::gtest_main)
  set(list ${CMAKE_CURRENT_BINARY_DIR}/${name}_suites.cmake)
  add_custom_command(TARGET ${name} POST_BUILD
    COMMAND ${CMAKE_COMMAND} -DPROGRAM=$<TARGET_FILE:${name}> -DNAME=${name} -DLIST=${list}
            "-DLABELS=${ARG_LABELS}" -DRESULTS=${CMAKE_BINARY_DIR}/test-results
            -P ${PROJECT_SOURCE_DIR}/cmake/ListSuites.cmake
    VERBATIM)
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/${name}_include.cmake
       "if(EXISTS \"${list}\")\n  include(\"${list}\")\nendif()\n")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES
               ${CMAKE_CURRENT_BINARY_DIR}/${name}_include.cmake)
endfunction()

# Of C code that goes into libraries. Built the same way whatever the preset: these bytes are the
# product's, so no sanitizers, no debug information, no machine-specific flags.
set(MATTEC_PRODUCT_OPTIONS
    -O3 -g0 -fPIC -fvisibility=hidden -ffreestanding -fno-stack-protector -fno-ident -fno-lto
    -Wall -Wextra -Werror)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
  set(MATTEC_NATIVE x86_64)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
  set(MATTEC_NATIVE arm_64)
else()
  message(FATAL_ERROR "mattec builds on x86-64 and 64-bit ARM, not on ${CMAKE_SYSTEM_PROCESSOR}")
endif()
