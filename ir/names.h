// Names that come from files and go into C headers, reports and terminals.
#pragma once

#include <string>

namespace mattec::ir {

// A letter or _, then letters, digits and _, 64 at most: states, outputs.
bool is_identifier(const std::string& name);

// As an identifier, but with . and - too: "rvm-mobilenetv3".
bool is_network_name(const std::string& name);

// Letters, digits, spaces and _ . - / : + # @ = ( ) [ ] , > (512 at most): tensors, operations.
// Nothing that ends a comment or a string of C, nor that a terminal obeys.
bool is_element_name(const std::string& name);

// A network's name made of any text (a file's name): what is not allowed becomes _.
std::string network_name(const std::string& text);

// For messages: printable and cut short, however long and odd.
std::string shown_name(const std::string& name);

}  // namespace mattec::ir
