// The instructions of pickles, protocol 0 to 5. Names: Python's Lib/pickle.py and
// Lib/pickletools.py. Missing are NEXT_BUFFER and READONLY_BUFFER, whose bytes are outside the
// file.
#include "frontend/pickle.h"

namespace mattec::frontend {

using Kind = PickleValue::Kind;

bool PickleReader::step_number(unsigned char instruction) {
  switch (instruction) {
    case 'J':  // BININT
      integer(static_cast<int32_t>(number(4)));
      return true;
    case 'K':  // BININT1
      integer(static_cast<int64_t>(number(1)));
      return true;
    case 'M':  // BININT2
      integer(static_cast<int64_t>(number(2)));
      return true;
    case 'I':  // INT
    case 'L':  // LONG
      integer_line();
      return true;
    case 0x8a:  // LONG1
      long_integer(length(1));
      return true;
    case 0x8b:  // LONG4
      long_integer(length(4));
      return true;
    case 0x88:  // NEWTRUE
      integer(1);
      return true;
    case 0x89:  // NEWFALSE
      integer(0);
      return true;
    case 'G':  // BINFLOAT
      skip(8);
      push_opaque("a number");
      return true;
    case 'F':  // FLOAT
      line();
      push_opaque("a number");
      return true;
    case 'N':  // NONE
      push_opaque("None");
      return true;
    default:
      return false;
  }
}

bool PickleReader::step_text(unsigned char instruction) {
  switch (instruction) {
    case 'X':  // BINUNICODE
    case 'T':  // BINSTRING
      text(bytes(number(4)));
      return true;
    case 0x8c:  // SHORT_BINUNICODE
    case 'U':   // SHORT_BINSTRING
      text(bytes(number(1)));
      return true;
    case 0x8d:  // BINUNICODE8
      text(bytes(number(8)));
      return true;
    case 'V':  // UNICODE; what it escapes is in no parameter's name
      text(line());
      return true;
    case 'S': {  // STRING, in quotes
      const std::string quoted = line();
      if (quoted.size() < 2 || quoted.front() != quoted.back()) refuse("is damaged");
      text(quoted.substr(1, quoted.size() - 2));
      return true;
    }
    case 'C':  // SHORT_BINBYTES
      skip(number(1));
      push_opaque("bytes");
      return true;
    case 'B':  // BINBYTES
      skip(number(4));
      push_opaque("bytes");
      return true;
    case 0x8e:  // BINBYTES8
    case 0x96:  // BYTEARRAY8
      skip(number(8));
      push_opaque("bytes");
      return true;
    default:
      return false;
  }
}

bool PickleReader::step_stack(unsigned char instruction) {
  switch (instruction) {
    case 0x80:  // PROTO
      if (number(1) > 5) refuse("has a protocol after 5");
      return true;
    case 0x95:  // FRAME
      number(8);
      return true;
    case '(':  // MARK
      if (marks_.size() > stack_.size() + 1000) refuse("is damaged");
      marks_.push_back(stack_.size());
      return true;
    case '0':  // POP
      pop_or_mark();
      return true;
    case '1':  // POP_MARK
      pop_to_mark();
      return true;
    case '2':  // DUP
      push(top());
      return true;
    case 'p':  // PUT
      put(std::stoull("0" + line().substr(0, 9)));
      return true;
    case 'q':  // BINPUT
      put(number(1));
      return true;
    case 'r':  // LONG_BINPUT
      put(number(4));
      return true;
    case 0x94:  // MEMOIZE
      put(memo_.size());
      return true;
    case 'g':  // GET
      get(std::stoull("0" + line().substr(0, 9)));
      return true;
    case 'h':  // BINGET
      get(number(1));
      return true;
    case 'j':  // LONG_BINGET
      get(number(4));
      return true;
    default:
      return false;
  }
}

bool PickleReader::step_collection(unsigned char instruction) {
  switch (instruction) {
    case ')':  // EMPTY_TUPLE
      tuple(0);
      return true;
    case 0x85:  // TUPLE1
    case 0x86:  // TUPLE2
    case 0x87:  // TUPLE3
      tuple(instruction - size_t{0x84});
      return true;
    case 't': {  // TUPLE
      Values items = pop_to_mark();
      PickleValue* made = make(Kind::tuple);
      made->items = std::move(items);
      push(made);
      return true;
    }
    case '}':  // EMPTY_DICT
      push(make(Kind::dictionary));
      return true;
    case 'd': {  // DICT
      const Values items = pop_to_mark();
      push(make(Kind::dictionary));
      set_items(items);
      return true;
    }
    case 's': {  // SETITEM
      const PickleValue* value = pop();
      const PickleValue* key = pop();
      set_items({key, value});
      return true;
    }
    case 'u':  // SETITEMS
      set_items(pop_to_mark());
      return true;
    case ']':  // EMPTY_LIST
      push_opaque("a list");
      return true;
    case 'l':  // LIST
      pop_to_mark();
      push_opaque("a list");
      return true;
    case 'a':  // APPEND
      append(1);
      return true;
    case 0x8f:  // EMPTY_SET
      push_opaque("a set");
      return true;
    case 0x91:  // FROZENSET
      pop_to_mark();
      push_opaque("a set");
      return true;
    case 'e':   // APPENDS
    case 0x90:  // ADDITEMS
      pop_to_mark();
      append(0);
      return true;
    default:
      return false;
  }
}

bool PickleReader::step_object(unsigned char instruction) {
  switch (instruction) {
    case 'c': {  // GLOBAL
      const std::string module = line();
      push_name(module, line());
      return true;
    }
    case 0x93:  // STACK_GLOBAL
      stack_global();
      return true;
    case 'R':   // REDUCE
    case 0x81:  // NEWOBJ
      new_object(false);
      return true;
    case 0x92:  // NEWOBJ_EX
      new_object(true);
      return true;
    case 'b':  // BUILD
      build();
      return true;
    case 'Q': {  // BINPERSID
      const PickleValue* identity = pop();
      if (identity->kind != Kind::tuple) refuse("is damaged");
      PickleValue* made = make(Kind::storage);
      made->items = identity->items;
      push(made);
      return true;
    }
    case 'P':  // PERSID
      line();
      push_opaque("an object outside the pickle");
      return true;
    case 'i': {  // INST
      const std::string name = line() + " " + line().substr(0, 256);
      pop_to_mark();
      push_opaque("a result of '" + name.substr(0, 256) + "'");
      return true;
    }
    case 'o':  // OBJ
      pop_to_mark();
      push_opaque("an object of a class");
      return true;
    case 0x82:  // EXT1
    case 0x83:  // EXT2
    case 0x84:  // EXT4
      number(1 << (instruction - 0x82));
      push_opaque("an object of a registered class");
      return true;
    default:
      return false;
  }
}

}  // namespace mattec::frontend
