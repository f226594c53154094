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

option(MATTEC_SANITIZE "Build with AddressSanitizer and UndefinedBehaviorSanitizer" OFF)

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
    target_compile_options(${target} PRIVATE -fsanitize=address,undefined -fno-sanitize-recover=all
                                             -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC -fsanitize=address,undefined)
  endif()
endfunction()

# mattec_use_torch(target PUBLIC|PRIVATE): links LibTorch. Its headers take 18 s of each file that
# includes them (g++ 12, one Xeon core), so they are compiled once. That wants the same flags
# everywhere, OpenMP's too: at::parallel_for is a template that runs on one thread without it.
function(mattec_use_torch target scope)
  target_link_libraries(${target} ${scope} ${TORCH_LIBRARIES} PRIVATE OpenMP::OpenMP_CXX)
  if(NOT TARGET mattec_torch_headers)
    file(WRITE ${CMAKE_BINARY_DIR}/torch_headers.cpp "")
    add_library(mattec_torch_headers OBJECT ${CMAKE_BINARY_DIR}/torch_headers.cpp)
    mattec_compile_options(mattec_torch_headers)
    target_link_libraries(mattec_torch_headers PRIVATE ${TORCH_LIBRARIES} OpenMP::OpenMP_CXX)
    target_precompile_headers(mattec_torch_headers PRIVATE
      <torch/types.h> <torch/utils.h> <ATen/CPUGeneratorImpl.h> <ATen/Parallel.h>)
  endif()
  target_precompile_headers(${target} REUSE_FROM mattec_torch_headers)
endfunction()

# mattec_test(name LABELS label... SOURCES file... LIBRARIES target...): one GoogleTest program,
# its cases found by ctest. MATTEC_SHARED is where real weights and clips may lie (see README).
function(mattec_test name)
  cmake_parse_arguments(ARG "" "" "LABELS;SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  mattec_compile_options(${name})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(${name} PRIVATE MATTEC_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES} GTest::gtest GTest::gtest_main)
  gtest_discover_tests(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 900
                       DISCOVERY_TIMEOUT 120)
endfunction()
