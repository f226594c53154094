// Is a page whole and on its own?
#pragma once

#include <gtest/gtest.h>

#include <regex>
#include <string>
#include <vector>

namespace mattec::tools {

// Every tag is closed in order, every & starts an entity, no attribute is open, and nothing is
// loaded from elsewhere or run.
inline void expect_whole_page(const std::string& page) {
  static const std::regex tag(R"(<(/?)([A-Za-z0-9]+)((?:\s+[-A-Za-z]+="[^"<>]*")*)\s*(/?)>)");
  const std::string doctype = "<!DOCTYPE html>\n";
  ASSERT_EQ(page.compare(0, doctype.size(), doctype), 0);
  std::vector<std::string> open;
  // Pictures are long: std::regex recurses over what it matches, so they go first.
  const std::string text = [&] {
    std::string kept;
    const std::string data = "data:image/png;base64,";
    size_t from = doctype.size();
    for (size_t at; (at = page.find(data, from)) != std::string::npos;) {
      kept += page.substr(from, at - from) + "picture";
      from = page.find('"', at);
    }
    return kept + page.substr(from);
  }();
  size_t at = 0;
  while ((at = text.find('<', at)) != std::string::npos) {
    const std::string one = text.substr(at, text.find('>', at) - at + 1);
    std::smatch match;
    ASSERT_TRUE(std::regex_match(one, match, tag)) << one;
    const std::string name = match[2];
    if (match[1].length() > 0) {
      ASSERT_FALSE(open.empty()) << one;
      ASSERT_EQ(open.back(), name) << one;
      open.pop_back();
    } else if (match[4].length() == 0) {
      open.push_back(name);
    }
    at += one.size();
  }
  EXPECT_TRUE(open.empty()) << open.back();
  for (at = text.find('&'); at != std::string::npos; at = text.find('&', at + 1))
    EXPECT_TRUE(std::regex_search(text.substr(at, 7), std::regex("^&(amp|lt|gt|quot);")))
        << text.substr(at, 20);
  for (const char* outside : {"http", "url(", "<script", "<link", "@import"})
    EXPECT_EQ(text.find(outside), std::string::npos) << outside;
}

}  // namespace mattec::tools
