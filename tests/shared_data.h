// Real weights and clips, which lie beside the project's folder and are no part of it.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

// $MATTEC_SHARED/<relative>, else <source folder>/../shared/<relative>.
inline std::string shared_file(const std::string& relative) {
  const char* given = std::getenv("MATTEC_SHARED");
  return (given ? std::string(given) : std::string(MATTEC_SOURCE_DIR) + "/../shared") + "/" +
         relative;
}

// In a test's body: leaves it, saying which file is missing.
#define MATTEC_NEED_SHARED(relative)                   \
  if (!std::filesystem::exists(shared_file(relative))) \
  GTEST_SKIP() << "missing: " << shared_file(relative)
