// What an object file defines and wants.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <set>
#include <sstream>
#include <string>

namespace mattec::test {

// "T name" lines of `nm`, without values.
inline std::set<std::string> symbols(const std::string& file, const std::string& options) {
  std::string command = MATTEC_NM " --format=posix ";
  command.append(options).append(" ").append(file);
  std::FILE* pipe = popen(command.c_str(), "r");
  EXPECT_NE(pipe, nullptr);
  std::set<std::string> found;
  char line[512];
  while (pipe && std::fgets(line, sizeof line, pipe)) {
    std::istringstream words(line);
    std::string name, type;
    words >> name >> type;
    found.insert(type.append(" ").append(name));
  }
  EXPECT_EQ(pclose(pipe), 0) << command;
  return found;
}

}  // namespace mattec::test
