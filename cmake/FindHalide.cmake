# Finds the Halide C++ SDK inside the PyPI wheel: imported target Halide::Halide, HALIDE_DIR.
# (The wheel's own CMake package wants CMake 3.28; Debian 12 has 3.25, and this is all we need.)
# Looks at -DMATTEC_HALIDE_DIR=..., then at the virtual environment that scripts/setup makes.
if(NOT MATTEC_HALIDE_DIR)
  file(GLOB MATTEC_HALIDE_DIR ${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/halide)
endif()
find_library(HALIDE_LIBRARY Halide HINTS ${MATTEC_HALIDE_DIR}/lib64 ${MATTEC_HALIDE_DIR}/lib)
find_path(HALIDE_INCLUDE_DIR Halide.h HINTS ${MATTEC_HALIDE_DIR}/include)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Halide
  REQUIRED_VARS HALIDE_LIBRARY HALIDE_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "run scripts/setup, or pass -DMATTEC_HALIDE_DIR=<site-packages/halide>")
if(Halide_FOUND AND NOT TARGET Halide::Halide)
  add_library(Halide::Halide SHARED IMPORTED)
  set_target_properties(Halide::Halide PROPERTIES
    IMPORTED_LOCATION ${HALIDE_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${HALIDE_INCLUDE_DIR}
    INTERFACE_COMPILE_DEFINITIONS "HALIDE_WITH_EXCEPTIONS;HALIDE_ENABLE_RTTI")
  set(HALIDE_DIR ${MATTEC_HALIDE_DIR})
endif()
