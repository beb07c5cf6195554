"""The auction market: its rules, traffic, advertisers and scripted competitors, and the market itself."""
